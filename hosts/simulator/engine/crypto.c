/*
 * SHA-256 and Ed25519 for modules/identity's Crypto, from published sources only: libcperciva's SHA-256 and Orson
 * Peters' Ed25519. Each function reads its arguments by address, works on the C stack, clears what was secret there
 * and only then makes its result: making it may collect, and a collection moves the arguments.
 */
#include "board.h"
#include "ed25519.h"
#include "insecure_memzero.h"
#include "sha256.h"

#define SEED_BYTES 32
#define PUBLIC_KEY_BYTES 32
#define SIGNATURE_BYTES 64
#define DIGEST_BYTES 32

static Bytes bytesOfLength(txMachine* the, txSlot* slot, size_t length, char* what)
{
	Bytes bytes = boardBytes(the, slot);
	if (bytes.length != length)
		mxRangeError("%s: expected %d bytes, received %d", what, (int)length, (int)bytes.length);
	return bytes;
}

static void needArguments(txMachine* the, int count)
{
	if (mxArgc < count)
		mxTypeError("expected %d arguments, received %d", count, (int)mxArgc);
}

/* The Ed25519 functions leave nonce and scalar in their frames, below ours: overwrite as deep as they go. */
static __attribute__((noinline)) void clearStack(void)
{
	unsigned char below[8192];
	insecure_memzero(below, sizeof(below));
}

void cryptoSha256(txMachine* the)
{
	unsigned char digest[DIGEST_BYTES];
	needArguments(the, 1);
	Bytes message = boardBytes(the, mxArgv(0));
	SHA256_Buf(message.data, message.length, digest);
	boardReturnBytes(the, digest, sizeof(digest));
}

void cryptoPublicKey(txMachine* the)
{
	unsigned char publicKey[PUBLIC_KEY_BYTES], secret[64];
	needArguments(the, 1);
	Bytes seed = bytesOfLength(the, mxArgv(0), SEED_BYTES, "seed");
	ed25519_create_keypair(publicKey, secret, seed.data);
	insecure_memzero(secret, sizeof(secret));
	clearStack();
	boardReturnBytes(the, publicKey, sizeof(publicKey));
}

void cryptoSign(txMachine* the)
{
	unsigned char signature[SIGNATURE_BYTES], derived[PUBLIC_KEY_BYTES], secret[64];
	int match;
	needArguments(the, 3);
	Bytes message = boardBytes(the, mxArgv(0));
	Bytes seed = bytesOfLength(the, mxArgv(1), SEED_BYTES, "seed");
	Bytes publicKey = bytesOfLength(the, mxArgv(2), PUBLIC_KEY_BYTES, "public key");
	ed25519_create_keypair(derived, secret, seed.data);
	/* Signing one message under two public keys gives the secret away: one flipped bit in a stored key must not. */
	match = memcmp(derived, publicKey.data, PUBLIC_KEY_BYTES) == 0;
	if (match)
		ed25519_sign(signature, message.data, message.length, derived, secret);
	insecure_memzero(secret, sizeof(secret));
	clearStack();
	if (!match)
		mxRangeError("public key: does not belong to the seed");
	boardReturnBytes(the, signature, sizeof(signature));
}

void cryptoVerifyEquation(txMachine* the)
{
	needArguments(the, 3);
	Bytes signature = bytesOfLength(the, mxArgv(0), SIGNATURE_BYTES, "signature");
	Bytes message = boardBytes(the, mxArgv(1));
	Bytes publicKey = bytesOfLength(the, mxArgv(2), PUBLIC_KEY_BYTES, "public key");
	/* Recomputes R from S, k and A, encodes it and compares the bytes: the cofactorless equation. */
	int holds = ed25519_verify(signature.data, message.data, message.length, publicKey.data);
	mxResult->kind = XS_BOOLEAN_KIND;
	mxResult->value.boolean = holds;
}
