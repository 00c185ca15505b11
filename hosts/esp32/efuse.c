/*
 * The chip's fuses, bound by name in efuse.ts: a key that only the HMAC peripheral reads, and bits that count what was
 * made of it. Chips without the peripheral (the first ESP32, the C2) have none of it.
 *
 * The bits are the last 8 of SECURE_VERSION in block 0. They have to be there: every other block is written together with
 * its Reed-Solomon code, once and never again, while each bit of block 0 is burned by itself (ESP-IDF, "eFuse Manager").
 * ESP-IDF counts the bootloader's anti-rollback from the field's first bit, and leaves the others alone where it is told
 * how many are its own.
 *
 * Nothing here writes a key block: burning a key is an act of a person (README.md).
 */
#include <string.h>

#include "xsmc.h"
#include "xsHost.h"
#include "mc.xs.h"

#include "sdkconfig.h"
#include "soc/soc_caps.h"

#if SOC_HMAC_SUPPORTED

#include "efuse/include/esp_efuse.h"
#include "esp_hal_security/include/hal/hmac_types.h"

/* Of esp_efuse_table.h and esp_hmac.h, which ask for headers that mcconfig has no path to. */
extern const esp_efuse_desc_t *ESP_EFUSE_SECURE_VERSION[];
esp_err_t esp_hmac_calculate(hmac_key_id_t key, const void *message, size_t length, uint8_t *hmac);

#include "sodium/crypto_auth_hmacsha256.h"
#include "sodium/utils.h"

#define GENERATIONS 8
#define SECURE_VERSION_BITS 16
#define HMAC_BYTES 32
#define MESSAGE_MAX_BYTES 64

#if CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK && CONFIG_BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD > SECURE_VERSION_BITS - GENERATIONS
#error "BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD: at most 8, the other bits count the device's keys"
#endif

/* The first key block for HMACs that software may have, and that software cannot read. */
static int findKey(hmac_key_id_t *key)
{
	esp_efuse_block_t block;
	if (ESP_EFUSE_SECURE_VERSION[0]->bit_count != SECURE_VERSION_BITS)
		return 0;
	if (!esp_efuse_find_purpose(ESP_EFUSE_KEY_PURPOSE_HMAC_UP, &block) || !esp_efuse_get_key_dis_read(block))
		return 0;
	*key = (hmac_key_id_t)(HMAC_KEY0 + (block - EFUSE_BLK_KEY0));
	return 1;
}

/* A block that was given its purpose and no key makes the same of a message on every chip. */
static int isBlank(hmac_key_id_t key)
{
	static const uint8_t zeros[HMAC_BYTES];
	uint8_t fused[HMAC_BYTES], blank[HMAC_BYTES];
	int same;
	if (ESP_OK != esp_hmac_calculate(key, zeros, sizeof zeros, fused))
		return 1;
	crypto_auth_hmacsha256(blank, zeros, sizeof zeros, zeros);
	same = 0 == sodium_memcmp(fused, blank, sizeof fused);
	sodium_memzero(fused, sizeof fused);
	return same;
}

static esp_efuse_desc_t counter(void)
{
	esp_efuse_desc_t field = *ESP_EFUSE_SECURE_VERSION[0];
	field.bit_start += SECURE_VERSION_BITS - GENERATIONS;
	field.bit_count = GENERATIONS;
	return field;
}

void xs_tallystick_efuse_has_key(xsMachine *the)
{
	hmac_key_id_t key;
	xsmcSetBoolean(xsResult, findKey(&key) && !isBlank(key));
}

void xs_tallystick_efuse_read(xsMachine *the)
{
	const esp_efuse_desc_t bits = counter(), *field[] = { &bits, NULL };
	uint8_t burned = 0;
	if (ESP_OK != esp_efuse_read_field_blob(field, &burned, GENERATIONS))
		xsUnknownError("the fuses cannot be read");
	xsmcSetInteger(xsResult, burned);
}

/* Reads back what it burned, as ESP-IDF does too. A bit that is burned already stays as it is. */
void xs_tallystick_efuse_burn(xsMachine *the)
{
	esp_efuse_desc_t bits = counter();
	const esp_efuse_desc_t *field[] = { &bits, NULL };
	int bit = xsmcToInteger(xsArg(0));
	if (bit < 0 || bit >= GENERATIONS)
		xsRangeError("no such fuse");
	bits.bit_start += bit;
	bits.bit_count = 1;
	if (ESP_OK != esp_efuse_write_field_bit(field) || !esp_efuse_read_field_bit(field))
		xsUnknownError("the fuse did not burn");
}

void xs_tallystick_efuse_hmac(xsMachine *the)
{
	uint8_t message[MESSAGE_MAX_BYTES], hmac[HMAC_BYTES];
	void *data;
	xsUnsignedValue length;
	hmac_key_id_t key;
	xsmcGetBufferReadable(xsArg(0), &data, &length);
	if (length < 1 || length > sizeof message)
		xsRangeError("wrong length");
	memcpy(message, data, length);
	if (!findKey(&key) || ESP_OK != esp_hmac_calculate(key, message, length, hmac))
		xsUnknownError("the chip makes no HMAC");
	xsmcSetArrayBuffer(xsResult, hmac, sizeof hmac);
	sodium_memzero(hmac, sizeof hmac);
}

#else

void xs_tallystick_efuse_has_key(xsMachine *the)
{
	xsmcSetBoolean(xsResult, 0);
}

static void absent(xsMachine *the)
{
	xsUnknownError("no HMAC peripheral");
}

void xs_tallystick_efuse_read(xsMachine *the)
{
	absent(the);
}

void xs_tallystick_efuse_burn(xsMachine *the)
{
	absent(the);
}

void xs_tallystick_efuse_hmac(xsMachine *the)
{
	absent(the);
}

#endif
