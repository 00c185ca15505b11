/*
 * From a root machine to flash: built-ins are frozen, the machine is shared, and everything in it is made safe from
 * the clone's garbage collector, which must never mark, move or sweep what belongs to the root.
 */
#include "board.h"

/* ---------- frozen built-ins, as in SDK builds ---------- */

static void freezeDeep(txMachine* the, txSlot* slot)
{
	if (slot->kind != XS_REFERENCE_KIND)
		return;
	mxPush(mxObjectConstructor);
	mxDub();
	fxGetID(the, mxID(_freeze));
	mxCall();
	mxPushSlot(slot);
	/* XS's own second argument: what the object refers to, too. */
	mxPushBoolean(1);
	mxRunCount(2);
	mxPop();
}

/* Everything that the machine keeps below its globals: constructors, prototypes, iterators, inner functions. */
static void freezeBuiltIns(txMachine* the)
{
	fxBeginHost(the);
	for (int index = mxInstanceInspectorsStackIndex + 1; index < mxCompartmentGlobalStackIndex; index++)
		freezeDeep(the, &the->stackPrototypes[-1 - index]);
	for (txSlot* property = mxGlobal.value.reference->next; property; property = property->next)
		if (!(property->flag & XS_INTERNAL_FLAG) && property->value.reference != mxGlobal.value.reference)
			freezeDeep(the, property);
	fxEndHost(the);
}

/* ---------- the root's slots and chunks ---------- */

/*
 * The clone copies slots of the root. Where a copy points at a chunk, the clone's collector would take the chunk for
 * one of its own; the _X kinds are XS's own for "not a chunk". Buffers and tables have no such kind: they become
 * read-only, as in a board's flash, and protectChunks keeps the collector from moving them.
 */
static void sealSlot(txSlot* slot)
{
	switch (slot->kind) {
	case XS_STRING_KIND: slot->kind = XS_STRING_X_KIND; break;
	case XS_BIGINT_KIND: slot->kind = XS_BIGINT_X_KIND; break;
	case XS_KEY_KIND: slot->kind = XS_KEY_X_KIND; break;
	case XS_CODE_KIND: slot->kind = XS_CODE_X_KIND; break;
	case XS_ARRAY_BUFFER_KIND:
	case XS_DATE_KIND:
	case XS_MAP_KIND:
	case XS_SET_KIND:
	case XS_WEAK_MAP_KIND:
	case XS_WEAK_SET_KIND:
		slot->flag |= XS_DONT_SET_FLAG;
		break;
	case XS_REGEXP_KIND:
		/* Working memory of a match: without it each match allocates its own, in the clone. */
		slot->value.regexp.data = NULL;
		break;
	case XS_ARRAY_KIND: {
		txSlot* item = slot->value.array.address;
		txIndex count = item ? ((txChunk*)((txByte*)item - sizeof(txChunk)))->size / sizeof(txSlot) : 0;
		if (count > slot->value.array.length)
			count = slot->value.array.length;
		while (count-- > 0)
			sealSlot(item++);
		break;
	}
	}
}

static void sealSlots(txMachine* the)
{
	for (txSlot* heap = the->firstHeap; heap; heap = heap->next)
		for (txSlot* slot = heap + 1; slot < heap->value.reference; slot++)
			sealSlot(slot);
	for (txSlot* slot = the->stack; slot < the->stackTop; slot++)
		sealSlot(slot);
}

/* A collector updates a pointer only where the chunk's header says where the chunk went: say nowhere, for good. */
static void protectChunks(txMachine* the)
{
	for (txBlock* block = the->firstBlock; block; block = block->nextBlock) {
		txByte* at = (txByte*)block + sizeof(txBlock);
		while (at < block->current) {
			txChunk* chunk = (txChunk*)at;
			at = chunk->temporary;
			chunk->temporary = NULL;
		}
	}
}

void boardSeal(txMachine* the)
{
	freezeBuiltIns(the);
	fxShareMachine(the);
	sealSlots(the);
	protectChunks(the);
}
