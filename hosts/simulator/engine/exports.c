/* What the host calls, in the order of a board's life. */
#include "board.h"

txMachine* gxRoot;
txMachine* gxDevice;
/* Bytecode of all modules: what they take of a board's flash. */
static int gxCodeBytes;

/* Clone and root must agree in these. */
#define NAME_MODULO 1993
#define SYMBOL_MODULO 127

extern char __stack_low, __stack_high;

/* Memory for what the host hands over. */
EXPORT("allocate") void* boardAllocate(int bytes)
{
	return malloc(bytes);
}

EXPORT("release") void boardRelease(void* memory)
{
	free(memory);
}

/* The root machine: generous, since it is flash. */
EXPORT("createRoot") void boardCreateRoot(void)
{
	txCreation creation = {
		.initialChunkSize = 256 * 1024,
		.incrementalChunkSize = 64 * 1024,
		.initialHeapCount = 16 * 1024,
		.incrementalHeapCount = 4 * 1024,
		.stackCount = 4 * 1024,
		.initialKeyCount = 4 * 1024,
		.incrementalKeyCount = 1024,
		.nameModulo = NAME_MODULO,
		.symbolModulo = SYMBOL_MODULO,
		.parserBufferSize = 32 * 1024,
		.parserTableModulo = 1993,
	};
	fxInitializeSharedCluster();
	gxRoot = fxCreateMachine(&creation, "root", NULL, XS_NO_ID);
	gxCodeBytes = boardDefineNatives(gxRoot);
}

/* Name and text were allocated by the host and are the module's from now on. */
EXPORT("define") void boardDefine(char* name, char* text, int bytes)
{
	gxCodeBytes += boardDefineModule(gxRoot, name, text, bytes, 0);
}

/* Evaluates a module, and what it imports, in the root: as the SDK's preload. */
EXPORT("preload") void boardPreload(char* name)
{
	boardImport(gxRoot, name);
}

EXPORT("seal") void boardSealRoot(void)
{
	boardSeal(gxRoot);
}

/* The device: a clone of the root in one fixed block, as the SDK's `creation` of a manifest describes it. */
EXPORT("start") void boardStart(char* name, int staticBytes, int stackSlots, int initialKeys, int incrementalKeys)
{
	txCreation creation = {
		.initialChunkSize = 1536,
		.incrementalChunkSize = 512,
		.initialHeapCount = 512,
		.incrementalHeapCount = 64,
		.stackCount = stackSlots,
		.initialKeyCount = initialKeys,
		.incrementalKeyCount = incrementalKeys,
		.nameModulo = NAME_MODULO,
		.symbolModulo = SYMBOL_MODULO,
		.parserBufferSize = 1024,
		.parserTableModulo = 127,
		.staticSize = staticBytes,
	};
	boardReserveBlock(staticBytes);
	wireReset();
	gxDevice = fxCloneMachine(&creation, gxRoot, "device", NULL);
	if (!gxDevice)
		boardEnd(XS_NOT_ENOUGH_MEMORY_EXIT, "the block does not even hold an empty machine", NULL, 0);
	gxDevice->stackPeak = gxDevice->stackTop;
	/* Half of the C stack is the parser's, in the root. With less the device meets this limit, which is the same in
	   every run, before it meets the end of the host's own stack, which is not. */
	gxDevice->stackLimit += (&__stack_high - &__stack_low) / 2;
	boardImport(gxDevice, name);
}

/* One event. Returns the handler's number, NaN for none. */
EXPORT("event") double boardEvent(unsigned char* bytes, int length)
{
	txMachine* the = gxDevice;
	double wake = NAN;
	fxBeginHost(the);
	mxTry(the) {
		wake = wireDeliver(the, bytes, length);
	}
	mxCatch(the) {
		fxAbort(the, XS_UNHANDLED_EXCEPTION_EXIT);
	}
	fxEndHost(the);
	boardDrain(the);
	return wake;
}

EXPORT("collect") void boardCollect(void)
{
	fxCollectGarbage(gxDevice);
}

/* Figures by number; board.ts names them. */
EXPORT("figure") double boardFigure(int which)
{
	txMachine* the = gxDevice;
	if (which == 0)
		return gxCodeBytes;
	if (!the)
		return 0;
	switch (which) {
	case 1: return the->meterIndex;
	case 2: return the->peakChunksSize;
	case 3: return (double)the->peakHeapCount * sizeof(txSlot);
	case 4: return (the->stackTop - the->stackBottom);
	case 5: return the->slotsStart - the->chunksEnd;
	case 6: return the->keyIndex - the->keyOffset;
	case 7: return the->aliasCount;
	case 8: return sizeof(txSlot);
	case 9: return the->stackTop - the->stackPeak;
	}
	return NAN;
}
