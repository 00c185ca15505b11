/*
 * XS's interpreter, xsRun.c as published, with two changes made from outside by macros.
 *
 * 1. No setjmp inside the interpreter function. A function that calls setjmp is split at every call by the
 *    WebAssembly back end, and the interpreter then runs 10 to 20 times slower. One wrapper frame owns the jump
 *    buffer instead; every catch of the interpreter arms a copy of it, and a caught exception re-enters the
 *    interpreter, which goes on at the catch that is on top of the machine's list.
 * 2. Line numbers, and the stack's peak. The opcodes FILE and LINE do something only in debug builds, and so do the notes of where a
 *    value was thrown. Here, and only here, the file takes itself for a debug build with an empty debugger, and for
 *    an instrumented one with an empty profiler, which keeps the peak in a field that platform.h gives the machine.
 */
#include "board.h"

#define mxDebug 1
#define fxIsReadable(THE) 0
#define fxDebugCommand(THE) ((void)0)
#define fxDebugLine(THE, ID, LINE) ((void)0)
#define fxDebugLoop(THE, PATH, LINE, MESSAGE) ((void)0)
#define fxDebugThrow(THE, PATH, LINE, MESSAGE) boardNoteThrow(THE)
/* Constants, so that the compiler drops what asks for them at every line and call. */
#define XS_STEP_INTO_FLAG 0
#define XS_STEP_OVER_FLAG 0
static const txSlot gxNoBreakpoints;
#undef mxBreakpoints
#define mxBreakpoints gxNoBreakpoints
#define mxInstrument 1
#define fxCheckProfiler(THE, FRAME) ((void)0)

/* The jump buffer of one call of the interpreter, and what the interpreter must know when it is entered again. */
typedef struct {
	jmp_buf buffer;
	txJump* yieldJump;
	txBoolean resuming;
} Activation;

static Activation* gxActivation;

static int fxArmJump(Activation* activation, jmp_buf* buffer)
{
	c_memcpy(buffer, &activation->buffer, sizeof(jmp_buf));
	return 0;
}
#undef c_setjmp
#define c_setjmp(BUFFER) fxArmJump(activation, &(BUFFER))

/* The other functions of the file catch with mxTry; they keep the real one. */
#undef mxTry
#define mxTry(THE_MACHINE) \
	txJump __JUMP__; \
	__JUMP__.nextJump = (THE_MACHINE)->firstJump; \
	__JUMP__.stack = the->stack; \
	__JUMP__.scope = the->scope; \
	__JUMP__.frame = the->frame; \
	__JUMP__.code = the->code; \
	__JUMP__.flag = 0; \
	(THE_MACHINE)->firstJump = &__JUMP__; \
	if (setjmp(__JUMP__.buffer) == 0) {

/* A try statement's catch restores its environment, the catches of a resumed generator do not have one: told apart by this. */
#define NO_ENVIRONMENT ((txSlot*)-1)
static void* fxNewJump(size_t size)
{
	txJump* jump = malloc(size);
	if (jump)
		jump->environment = NO_ENVIRONMENT;
	return jump;
}
#undef c_malloc
#define c_malloc(SIZE) fxNewJump(SIZE)

/* The first statement of the interpreter's body, after its declarations: the place to go on at a catch. */
#undef mxCheckCStack
#define mxCheckCStack() \
	Activation* activation = gxActivation; \
	if (activation->resuming) { \
		activation->resuming = 0; \
		yieldJump = activation->yieldJump; \
		jump = the->firstJump; \
		the->firstJump = jump->nextJump; \
		mxStack = jump->stack; \
		mxScope = jump->scope; \
		mxFrame = jump->frame; \
		mxEnvironment = mxFrameToEnvironment(mxFrame); \
		if (jump->environment != NO_ENVIRONMENT) \
			mxEnvironment->value.reference = jump->environment; \
		mxCode = jump->code; \
		c_free(jump); \
		goto XS_CODE_JUMP; \
	} \
	activation->yieldJump = yieldJump

/*
 * The file defines fxRunID, which becomes fxInterpret, and calls it only through mxRunCount: those calls (instanceof,
 * eval, getters of globals, scripts) are calls of the interpreter like all others and need a frame of their own.
 */
static void fxEnterInterpreter(txMachine* the, txSlot* generator, txInteger count);
#undef mxRunCount
#define mxRunCount(COUNT) (mxMeterOne(), fxEnterInterpreter(the, C_NULL, COUNT))

#define fxRunID fxInterpret
void fxInterpret(txMachine* the, txSlot* generator, txInteger count);
#include "xsRun.c"
#undef fxRunID

static void fxEnterInterpreter(txMachine* the, txSlot* generator, txInteger count)
{
	Activation activation;
	Activation* previous = gxActivation;
	fxCheckCStack(the);
	activation.resuming = 0;
	if (setjmp(activation.buffer) != 0)
		activation.resuming = 1;
	gxActivation = &activation;
	fxInterpret(the, generator, count);
	gxActivation = previous;
}

void fxRunID(txMachine* the, txSlot* generator, txInteger count)
{
	fxEnterInterpreter(the, generator, count);
}
