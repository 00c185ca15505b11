/* XS's platform header of the simulated board: 32-bit WebAssembly, one machine pair in one instance, no threads. */
#ifndef TALLYSTICK_PLATFORM_H
#define TALLYSTICK_PLATFORM_H

#undef mxLinux
#undef mxWasm
#define mxWasm 1

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define mxExport extern
#define mxImport extern
#define XS_FUNCTION_NORETURN __attribute__((noreturn))
#define mxUseGCCAtomics 1

#define mxUseDefaultBuildKeys 1
#define mxUseDefaultParseScript 1
#define mxUseDefaultSharedChunks 1

/* Names stay 16 bits wide (no mx32bitID), so that a slot has the 16 bytes that it has on an ESP32. */

/* Time and chance belong to the world: see wire.c. */
int boardTimeOfDay(struct timeval* time, void* zone);
int boardRandom(void);
typedef struct timeval c_timeval;
#define c_gettimeofday boardTimeOfDay
#define c_rand boardRandom
#define C_RAND_MAX 0x7FFFFFFF

/*
 * The fixed block of the device machine: chunks grow up from its start, slots down from its end. All zero in the root.
 * stackPeak is what instrumented builds of XS keep: the deepest that a function's end saw the JavaScript stack.
 */
#define mxMachinePlatform \
	txSlot* stackPeak; \
	unsigned char* block; \
	unsigned char* chunksEnd; \
	unsigned char* slotsStart; \
	int connection; \
	void* waiterCondition; \
	void* waiterData; \
	void* waiterLink;

#endif
