/* Why a board ends, and where: every end is told to the host once, by a call that does not come back. */
#include "board.h"

/* Throws on the other side: the frames between are abandoned, and board.ts marks the board as ended. */
__attribute__((noreturn)) WORLD("end") extern void worldEnd(int reason, const char* message, const char* module, int line);

void boardEnd(int reason, const char* message, const char* module, int line)
{
	worldEnd(reason, message, module, line);
}

typedef struct {
	const char* module;
	int line;
} Place;

/* The place of the innermost frame that runs a module's code. */
static Place runningPlace(txMachine* the)
{
	Place place = { NULL, 0 };
	for (txSlot* frame = the->frame; frame; frame = frame->next) {
		txSlot* environment = mxFrameToEnvironment(frame);
		/* A frame that is being built has no environment yet. */
		if (environment < the->stack || environment->ID == XS_NO_ID)
			continue;
		place.module = fxGetKeyName(the, environment->ID);
		place.line = environment->value.environment.line;
		if (place.line)
			break;
	}
	return place;
}

/* Of the newest throw statement. Errors carry the place where they were made, which is better. */
static Place gxThrown;

void boardNoteThrow(txMachine* the)
{
	gxThrown = runningPlace(the);
}

static Place errorPlace(txMachine* the, txSlot* exception)
{
	Place place = { NULL, 0 };
	txSlot* error = exception->kind == XS_REFERENCE_KIND ? exception->value.reference->next : NULL;
	if (!error || error->kind != XS_ERROR_KIND || !error->value.error.info)
		return gxThrown;
	for (txSlot* call = error->value.error.info->next; call; call = call->next) {
		if (call->ID == XS_NO_ID)
			continue;
		place.module = fxGetKeyName(the, call->ID);
		place.line = call->value.key.sum;
		break;
	}
	return place;
}

#define MESSAGE_MAX_BYTES 256
#define CALLS_MAX_BYTES 1536

/* The calls that fill the stack, innermost first, a line each: module, line, slots. */
static char gxCalls[CALLS_MAX_BYTES];

static void listCalls(txMachine* the)
{
	size_t length = 0;
	for (txSlot* frame = the->frame; frame && frame->next && length < CALLS_MAX_BYTES - 128; frame = frame->next) {
		txSlot* environment = mxFrameToEnvironment(frame);
		const char* module = environment < the->stack || environment->ID == XS_NO_ID ? "" : fxGetKeyName(the, environment->ID);
		int line = *module ? environment->value.environment.line : 0;
		length += snprintf(gxCalls + length, CALLS_MAX_BYTES - length, "%.80s %d %d\n", module, line, (int)(frame->next - frame));
	}
}

/* What was thrown, as one line. Making it runs the board's code (toString), which may throw again. */
static void describe(txMachine* the, txSlot* exception, char* message)
{
	strcpy(message, "an exception that cannot be shown");
	mxTry(the) {
		mxPushSlot(exception);
		txString text = fxToString(the, the->stack);
		snprintf(message, MESSAGE_MAX_BYTES, "%s", text);
		mxPop();
	}
	mxCatch(the) {
	}
}

void fxAbort(txMachine* the, int status)
{
	char message[MESSAGE_MAX_BYTES] = "";
	Place place;
	char here;
	int overflow = 0;
	if (the->stackPeak > the->stack)
		the->stackPeak = the->stack;
	/* XS tells both stacks' overflows by one number. */
	if (status == XS_STACK_OVERFLOW_EXIT && (&here <= the->stackLimit + sizeof(message) + 256))
		boardEnd(END_C_STACK, message, NULL, 0);
	if (status == XS_STACK_OVERFLOW_EXIT) {
		listCalls(the);
		overflow = 1;
	}
	if (status == XS_UNHANDLED_EXCEPTION_EXIT || status == XS_UNHANDLED_REJECTION_EXIT) {
		txSlot exception = mxException;
		place = errorPlace(the, &exception);
		describe(the, &exception, message);
	}
	else
		place = runningPlace(the);
	boardEnd(status, overflow ? gxCalls : message, place.module, place.line);
}
