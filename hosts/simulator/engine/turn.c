/* Running code until it is idle. */
#include "board.h"

static txBoolean gxJobsPending;

void fxQueuePromiseJobs(txMachine* the)
{
	gxJobsPending = 1;
}

/* Runs promise jobs until none is left, then ends the board on a rejection that nobody handled. */
void boardDrain(txMachine* the)
{
	while (gxJobsPending) {
		gxJobsPending = 0;
		fxRunPromiseJobs(the);
	}
	fxEndJob(the);
	fxCheckUnhandledRejections(the, 1);
}

/* A failed import is a rejection that nobody handles: boardDrain ends the board with its reason. */
int boardImport(txMachine* the, char* name)
{
	fxBeginHost(the);
	mxPushStringC(name);
	fxRunImport(the, mxModuleInstanceInternal(mxProgram.value.reference)->value.module.realm, XS_NO_ID);
	mxPop();
	fxEndHost(the);
	boardDrain(the);
	return 0;
}
