/* What the files of this folder share. One instance of the module is one board: the state below is the whole of it. */
#ifndef TALLYSTICK_BOARD_H
#define TALLYSTICK_BOARD_H

#include "xsAll.h"
#include "xsScript.h"

#define EXPORT(NAME) __attribute__((export_name(NAME)))
#define WORLD(NAME) __attribute__((import_module("world"), import_name(NAME)))

/* The machine that stands for flash: built-ins, bytecode, preloaded modules. Sealed before a device starts. */
extern txMachine* gxRoot;
/* The machine that a board runs: a clone of the root in one fixed block. */
extern txMachine* gxDevice;

/* block.c */
void boardReserveBlock(txSize bytes);

/* modules.c: code by name. */
typedef struct Module Module;
Module* boardFindModule(const char* name);
int boardDefineModule(txMachine* the, const char* name, char* text, size_t size, txUnsigned parserFlags);

/* natives.c: the modules that are written in C, and their functions by name. */
txCallback boardFindNative(const char* name);
int boardDefineNatives(txMachine* the);
/* The bytes that an ArrayBuffer or a view on one shows. No pointer into a chunk outlives a call that may collect. */
typedef struct {
	const unsigned char* data;
	size_t length;
} Bytes;
Bytes boardBytes(txMachine* the, txSlot* slot);
void boardReturnBytes(txMachine* the, const unsigned char* data, size_t length);

/* seal.c */
void boardSeal(txMachine* the);

/* turn.c */
int boardImport(txMachine* the, char* name);
void boardDrain(txMachine* the);

/* end.c: why a board ends. The numbers are those of XS's own exits, then ours; board.ts names them. */
enum {
	END_SYNTAX = 32,
	END_NO_MODULE,
	END_C_STACK,
};
__attribute__((noreturn)) void boardEnd(int reason, const char* message, const char* module, int line);
/* Notes where something is thrown, for values that carry no place of their own. */
void boardNoteThrow(txMachine* the);

/* wire.c */
void wireCall(txMachine* the);
void wireOnEvent(txMachine* the);
double wireDeliver(txMachine* the, const unsigned char* event, size_t length);
void wireReset(void);

/* crypto.c */
void cryptoSha256(txMachine* the);
void cryptoPublicKey(txMachine* the);
void cryptoSign(txMachine* the);
void cryptoVerifyEquation(txMachine* the);

#endif
