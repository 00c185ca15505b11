/*
 * The device's fixed block, laid out as on an ESP32: one block of memory, chunks (strings, buffers, arrays) grow up
 * from its start, slots down from its end, and the machine is out of memory when they meet. The root machine has no
 * block and takes what it needs: on a board it is flash.
 */
#include "board.h"

#define ALIGNMENT 16

/* Claimed by the next machine that is created. */
static unsigned char* gxReserved;
static txSize gxReservedBytes;

void boardReserveBlock(txSize bytes)
{
	gxReservedBytes = bytes & ~(ALIGNMENT - 1);
	gxReserved = aligned_alloc(ALIGNMENT, gxReservedBytes);
	if (!gxReserved)
		boardEnd(XS_NOT_ENOUGH_MEMORY_EXIT, "the instance has no memory for the device's block", NULL, 0);
	/* Whatever was here before must not show: a board is a function of what the world tells it. */
	memset(gxReserved, 0, gxReservedBytes);
}

void fxCreateMachinePlatform(txMachine* the)
{
	the->connection = -1;
	the->block = gxReserved;
	the->chunksEnd = gxReserved;
	the->slotsStart = gxReserved ? gxReserved + gxReservedBytes : NULL;
	gxReserved = NULL;
}

void fxDeleteMachinePlatform(txMachine* the)
{
	free(the->block);
}

void* fxAllocateChunks(txMachine* the, txSize bytes)
{
	void* chunks;
	if (!the->block)
		return malloc(bytes);
	if (bytes > the->slotsStart - the->chunksEnd)
		return NULL;
	chunks = the->chunksEnd;
	the->chunksEnd += bytes;
	return chunks;
}

void fxFreeChunks(txMachine* the, void* chunks)
{
	if (!the->block)
		free(chunks);
}

/* Collects, then takes the unused end of the chunks back for slots. Two machines' worth of growth meet in one block. */
static void reclaimChunks(txMachine* the)
{
	txBlock* chunks = the->firstBlock;
	fxCollect(the, XS_COMPACT_FLAG | XS_ORGANIC_FLAG);
	if (chunks->limit == (txByte*)the->chunksEnd) {
		txByte* current = (txByte*)(((uintptr_t)chunks->current + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
		if (current < chunks->limit) {
			the->maximumChunksSize -= chunks->limit - current;
			the->chunksEnd = (unsigned char*)current;
			chunks->limit = current;
		}
	}
}

txSlot* fxAllocateSlots(txMachine* the, txSize count)
{
	txSize bytes = count * sizeof(txSlot);
	if (!the->block)
		return malloc(bytes);
	if (the->slotsStart - the->chunksEnd < bytes && the->stack != NULL && the->firstBlock)
		reclaimChunks(the);
	if (the->slotsStart - the->chunksEnd < bytes)
		return NULL;
	the->slotsStart -= bytes;
	return (txSlot*)the->slotsStart;
}

void fxFreeSlots(txMachine* the, void* slots)
{
	if (!the->block)
		free(slots);
}

/*
 * The lowest address that C may use for its stack. The linker puts the stack below everything else, so that an
 * overflow that no check sees ends in a trap, never in other data. What is kept back here is for C that does not
 * check: the Ed25519 functions need most (measured, see README.md).
 */
#define UNCHECKED_STACK_BYTES 16384
extern char __stack_low;
char* fxCStackLimit(void)
{
	return &__stack_low + UNCHECKED_STACK_BYTES;
}
