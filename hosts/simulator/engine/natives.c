/* The modules that are written in C: their JavaScript faces, and their functions by name. */
#include "board.h"

/* `name @ "native"` is XS's syntax for a function written in C; the parser takes it only with mxCFlag. */
static char gxWire[] =
	"export const call = function(operation, bytes) @ \"wireCall\";\n"
	"export const onEvent = function(handler) @ \"wireOnEvent\";\n";

static char gxCrypto[] =
	"const publicKey = function(seed) @ \"cryptoPublicKey\";\n"
	"const sign = function(message, seed, publicKey) @ \"cryptoSign\";\n"
	"const verifyEquation = function(signature, message, publicKey) @ \"cryptoVerifyEquation\";\n"
	"export const sha256 = function(bytes) @ \"cryptoSha256\";\n"
	"export const ed25519 = Object.freeze({ publicKey, sign, verifyEquation });\n";

int boardDefineNatives(txMachine* the)
{
	return boardDefineModule(the, "wire", gxWire, sizeof(gxWire) - 1, mxCFlag)
		+ boardDefineModule(the, "tallystick-native", gxCrypto, sizeof(gxCrypto) - 1, mxCFlag);
}

txCallback boardFindNative(const char* name)
{
	static const struct { const char* name; txCallback function; } natives[] = {
		{ "wireCall", wireCall },
		{ "wireOnEvent", wireOnEvent },
		{ "cryptoSha256", cryptoSha256 },
		{ "cryptoPublicKey", cryptoPublicKey },
		{ "cryptoSign", cryptoSign },
		{ "cryptoVerifyEquation", cryptoVerifyEquation },
	};
	for (size_t i = 0; i < sizeof(natives) / sizeof(natives[0]); i++)
		if (!strcmp(natives[i].name, name))
			return natives[i].function;
	return NULL;
}

Bytes boardBytes(txMachine* the, txSlot* slot)
{
	Bytes bytes = { NULL, 0 };
	txSlot* internal = slot->kind == XS_REFERENCE_KIND ? slot->value.reference->next : NULL;
	txSlot* view = NULL;
	if (internal && (internal->flag & XS_INTERNAL_FLAG)) {
		if (internal->kind == XS_TYPED_ARRAY_KIND)
			view = internal->next;
		else if (internal->kind == XS_DATA_VIEW_KIND)
			view = internal;
	}
	if (view) {
		txSlot* buffer = view->next;
		/* Zero where the buffer was detached or shrank below the view. */
		bytes.length = fxGetDataViewSize(the, view, buffer);
		bytes.data = (unsigned char*)buffer->value.reference->next->value.arrayBuffer.address + view->value.dataView.offset;
	}
	else {
		bytes.length = fxGetArrayBufferLength(the, slot);
		bytes.data = fxToArrayBuffer(the, slot);
	}
	return bytes;
}

void boardReturnBytes(txMachine* the, const unsigned char* data, size_t length)
{
	fxArrayBuffer(the, mxResult, (void*)data, length, -1);
}
