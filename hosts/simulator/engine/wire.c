/*
 * The wire. Outward one synchronous call, `call(operation, bytes) -> bytes`; inward one event at a time. Time and
 * chance come the same way, so that a board is a pure function of what the world tells it.
 */
#include "board.h"

/* Returns the reply's length; the reply waits on the other side until it is taken. */
WORLD("call") extern int worldCall(int operation, const void* bytes, int length);
WORLD("take") extern void worldTake(void* reply);
/* Milliseconds since 1970, and 31 random bits for Math.random, which no key is ever made from. */
WORLD("clock") extern double worldClock(void);
WORLD("random") extern int worldRandom(void);

/* What the device's code registered with onEvent. */
static txSlot gxHandler;

/* Calls leave from the device only: an image is built without a world. */
static void needWorld(txMachine* the)
{
	if (the != gxDevice)
		mxTypeError("the wire is not there while an image is built");
}

void wireCall(txMachine* the)
{
	Bytes bytes = { NULL, 0 };
	txInteger operation, length;
	needWorld(the);
	operation = mxArgc > 0 ? fxToInteger(the, mxArgv(0)) : 0;
	if (mxArgc > 1 && mxArgv(1)->kind != XS_UNDEFINED_KIND)
		bytes = boardBytes(the, mxArgv(1));
	length = worldCall(operation, bytes.data, bytes.length);
	/* May collect: `bytes` is not looked at any more. */
	fxArrayBuffer(the, mxResult, NULL, length, -1);
	if (length > 0)
		worldTake(mxResult->value.reference->next->value.arrayBuffer.address);
}

void wireOnEvent(txMachine* the)
{
	needWorld(the);
	if (mxArgc < 1 || !fxIsCallable(the, mxArgv(0)))
		mxTypeError("onEvent: expected a function");
	gxHandler = *mxArgv(0);
	gxHandler.next = NULL;
	fxRemember(the, &gxHandler);
}

void wireReset(void)
{
	gxHandler.kind = XS_UNDEFINED_KIND;
}

/* Calls the handler; its number, or NaN where it gave none. The caller drains the promise jobs. */
double wireDeliver(txMachine* the, const unsigned char* event, size_t length)
{
	double wake = NAN;
	if (gxHandler.kind != XS_REFERENCE_KIND)
		return wake;
	mxPushUndefined();
	mxPushSlot(&gxHandler);
	mxCall();
	mxPushUndefined();
	fxArrayBuffer(the, the->stack, (void*)event, length, -1);
	mxRunCount(1);
	if (the->stack->kind != XS_UNDEFINED_KIND)
		wake = fxToNumber(the, the->stack);
	mxPop();
	return wake;
}

int boardTimeOfDay(struct timeval* time, void* zone)
{
	/* The root has no world to ask; nothing that is preloaded may depend on when the image was built. */
	double ms = gxDevice ? worldClock() : 0;
	time->tv_sec = (time_t)floor(ms / 1000);
	time->tv_usec = (suseconds_t)((ms - 1000 * floor(ms / 1000)) * 1000);
	return 0;
}

int boardRandom(void)
{
	return gxDevice ? worldRandom() & C_RAND_MAX : 0;
}
