/*
 * Code by module name. A module is parsed once, in the root machine; its bytecode then stays where it is and every
 * function, string and number in it is used by address, as the SDK's linker prepares it for flash: bytecode costs the
 * device machine nothing, and no parser runs there.
 */
#include "board.h"

#define PARSER_BUFFER_BYTES (32 * 1024)
#define PARSER_SYMBOL_MODULO 1993
#define NAME_MAX_BYTES 256

struct Module {
	Module* next;
	const char* name;
	txScript* script;
	/* The native functions that the module binds by name. */
	int nativeCount;
	txHostFunctionBuilder* natives;
};

static Module* gxModules;
/* The module whose script runs next: fxResolveModule leaves its callback no other way to know. */
static Module* gxResolving;

Module* boardFindModule(const char* name)
{
	Module* module = gxModules;
	while (module && strcmp(module->name, name))
		module = module->next;
	return module;
}

/* ---------- parsing ---------- */

typedef struct {
	const unsigned char* at;
	const unsigned char* end;
} Source;

static int nextCharacter(void* stream)
{
	Source* source = stream;
	return source->at < source->end ? *source->at++ : C_EOF;
}

/* The first syntax error; parsing goes on and finds more, which mean less. */
static char gxSyntaxError[128];
static int gxSyntaxLine;

static void noteSyntaxError(void* console, txString path, txInteger line, txString format, c_va_list arguments)
{
	if (gxSyntaxError[0])
		return;
	vsnprintf(gxSyntaxError, sizeof(gxSyntaxError), format, arguments);
	gxSyntaxLine = line;
}

static txScript* parse(txMachine* the, const char* name, const char* text, size_t size, txUnsigned flags)
{
	txParser parser;
	txParserJump jump;
	txScript* script = NULL;
	Source source = { (const unsigned char*)text, (const unsigned char*)text + size };
	gxSyntaxError[0] = 0;
	fxInitializeParser(&parser, the, PARSER_BUFFER_BYTES, PARSER_SYMBOL_MODULO);
	parser.firstJump = &jump;
	parser.reportError = noteSyntaxError;
	if (c_setjmp(jump.jmp_buf) == 0) {
		parser.path = fxNewParserSymbol(&parser, (txString)name);
		/* With mxDebugFlag the code carries its lines; interpreter.c keeps them. */
		fxParserTree(&parser, &source, nextCharacter, flags | mxDebugFlag, NULL);
		fxParserHoist(&parser);
		fxParserBind(&parser);
		script = fxParserCode(&parser);
	}
	if (parser.errorCount)
		boardEnd(END_SYNTAX, gxSyntaxError, name, gxSyntaxLine);
	fxTerminateParser(&parser);
	return script;
}

/* ---------- linking ---------- */

/* In place: names become the root's, and code and strings are taken by address instead of by copy. */
static void linkCode(txByte* at, txByte* end, txID* ids)
{
	while (at < end) {
		txU1 opcode = *(txU1*)at;
		txS1 size = gxCodeSizes[opcode];
		switch (opcode) {
		case XS_CODE_CODE_1: *at = (txByte)XS_CODE_CODE_ARCHIVE_1; break;
		case XS_CODE_CODE_2: *at = (txByte)XS_CODE_CODE_ARCHIVE_2; break;
		case XS_CODE_CODE_4: *at = (txByte)XS_CODE_CODE_ARCHIVE_4; break;
		case XS_CODE_STRING_1: *at = (txByte)XS_CODE_STRING_ARCHIVE_1; break;
		case XS_CODE_STRING_2: *at = (txByte)XS_CODE_STRING_ARCHIVE_2; break;
		case XS_CODE_STRING_4: *at = (txByte)XS_CODE_STRING_ARCHIVE_4; break;
		}
		if (size > 0)
			at += size;
		else if (size == 0) {
			txByte* place = ++at;
			txID id;
			mxDecodeID(at, id);
			if (id != XS_NO_ID) {
				id = ids[id];
				mxEncodeID(place, id);
			}
		}
		else if (size == -1)
			at += 2 + *((txU1*)at + 1);
		else if (size == -2) {
			txU2 length;
			at++;
			mxDecode2(at, length);
			at += length;
		}
		else {
			txS4 length;
			at++;
			mxDecode4(at, length);
			at += length;
		}
	}
}

/* The script's own names, in the order of its numbers, as names of the root. */
static txID* linkNames(txMachine* the, txByte* symbols)
{
	txID count;
	mxDecodeID(symbols, count);
	txID* ids = malloc(count * sizeof(txID));
	ids[0] = XS_NO_ID;
	for (txID i = 1; i < count; i++) {
		ids[i] = fxNewNameX(the, (txString)symbols);
		symbols += strlen((char*)symbols) + 1;
	}
	return ids;
}

static void linkNatives(Module* module, txByte* hosts, txID* ids)
{
	txID count;
	mxDecodeID(hosts, count);
	module->nativeCount = count;
	module->natives = calloc(count, sizeof(txHostFunctionBuilder));
	for (txID i = 0; i < count; i++) {
		txHostFunctionBuilder* native = &module->natives[i];
		txID id;
		native->length = *hosts++;
		mxDecodeID(hosts, id);
		native->id = id == XS_NO_ID ? XS_NO_ID : ids[id];
		native->callback = boardFindNative((char*)hosts);
		if (!native->callback)
			boardEnd(END_SYNTAX, (char*)hosts, module->name, 0);
		hosts += strlen((char*)hosts) + 1;
	}
}

static void buildNatives(txMachine* the)
{
	fxBuildHosts(the, gxResolving->nativeCount, gxResolving->natives);
	mxPullSlot(mxResult);
}

/* `name` and `text` stay where they are for as long as the module does. */
int boardDefineModule(txMachine* the, const char* name, char* text, size_t size, txUnsigned parserFlags)
{
	Module* module = calloc(1, sizeof(Module));
	txScript* script = parse(the, name, text, size, parserFlags);
	txID* ids = linkNames(the, script->symbolsBuffer);
	module->name = name;
	module->script = script;
	linkCode(script->codeBuffer, script->codeBuffer + script->codeSize, ids);
	if (script->hostsBuffer) {
		linkNatives(module, (txByte*)script->hostsBuffer, ids);
		script->hostsBuffer = NULL;
		script->callback = buildNatives;
	}
	free(ids);
	/* Linked already: XS would otherwise map the numbers again. The names stay, the root's keys point at them. */
	script->symbolsBuffer = NULL;
	module->next = gxModules;
	gxModules = module;
	return script->codeSize;
}

/* ---------- finding: called by XS for every import ---------- */

/* A relative specifier is resolved against the importing module's name, as on boards: no files, only names. */
static void resolve(char* path, const char* importer, const char* specifier)
{
	char* slash;
	if (strlen(importer) + strlen(specifier) + 2 > 2 * NAME_MAX_BYTES)
		boardEnd(END_NO_MODULE, "the name is longer than 256 bytes", specifier, 0);
	path[0] = 0;
	if (specifier[0] == '.' && (specifier[1] == '/' || (specifier[1] == '.' && specifier[2] == '/'))) {
		strcpy(path, importer);
		slash = strrchr(path, '/');
		if (slash) *slash = 0; else path[0] = 0;
		for (;;) {
			if (!strncmp(specifier, "./", 2))
				specifier += 2;
			else if (!strncmp(specifier, "../", 3)) {
				specifier += 3;
				slash = strrchr(path, '/');
				if (slash) *slash = 0; else path[0] = 0;
			}
			else
				break;
		}
		if (path[0])
			strcat(path, "/");
	}
	strcat(path, specifier);
	char* dot = strrchr(path, '.');
	if (dot && !strcmp(dot, ".js"))
		*dot = 0;
}

txID fxFindModule(txMachine* the, txSlot* realm, txID moduleID, txSlot* slot)
{
	char specifier[NAME_MAX_BYTES];
	char path[2 * NAME_MAX_BYTES];
	fxToStringBuffer(the, slot, specifier, sizeof(specifier));
	resolve(path, moduleID == XS_NO_ID ? "" : fxGetKeyName(the, moduleID), specifier);
	if (!boardFindModule(path))
		mxReferenceError("module \"%s\" not found", path);
	return fxNewNameC(the, path);
}

void fxLoadModule(txMachine* the, txSlot* module, txID moduleID)
{
	gxResolving = boardFindModule(fxGetKeyName(the, moduleID));
	if (gxResolving)
		fxResolveModule(the, module, moduleID, gxResolving->script, NULL, NULL);
}
