/*
 * The board's native functions, bound by name in board.ts.
 *
 * Curve and hashes are libsodium's, as the ESP-IDF component espressif/libsodium pins it: its verify is the project's
 * signature rule, its signing runs in constant time, and it is the same family the relay checks with. Nothing here
 * computes on a curve.
 *
 * No pointer into the JavaScript heap is held across a call that may allocate: results are built on the C stack first.
 */
#include <string.h>

#include "xsmc.h"
#include "xsHost.h"
#include "mc.xs.h"

#include "sdkconfig.h"
#include "bootloader_random.h"
#include "app_update/include/esp_ota_ops.h"
#include "esp_mac.h"
#include "esp_partition.h"
#include "esp_random.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "esp_wifi.h"

#include "sodium/core.h"
#include "sodium/crypto_hash_sha256.h"
#include "sodium/crypto_sign_ed25519.h"
#include "sodium/utils.h"

#define SEED_BYTES crypto_sign_ed25519_SEEDBYTES
#define PUBLIC_KEY_BYTES crypto_sign_ed25519_PUBLICKEYBYTES
#define SIGNATURE_BYTES crypto_sign_ed25519_BYTES
#define SECRET_KEY_BYTES crypto_sign_ed25519_SECRETKEYBYTES
#define HASH_BYTES crypto_hash_sha256_BYTES
/* A key's seed is 32 bytes; twice that leaves room for nonces and bounds the time with the radio's sleep held off. */
#define ENTROPY_MAX_BYTES 64
#define PARTITION_LABEL_BYTES 17
/* What Espressif burns into every chip (ESP-IDF, "MAC Address"): 6 bytes on all chips here. */
#define CHIP_ID_BYTES 6

static const uint8_t *bytesOf(xsMachine *the, int argument, xsUnsignedValue *length)
{
	void *data;
	xsmcGetBufferReadable(xsArg(argument), &data, length);
	return data;
}

static const uint8_t *exactly(xsMachine *the, int argument, xsUnsignedValue expected)
{
	xsUnsignedValue length;
	const uint8_t *data = bytesOf(the, argument, &length);
	if (length != expected)
		xsRangeError("wrong length");
	return data;
}

void xs_tallystick_sha256(xsMachine *the)
{
	uint8_t hash[HASH_BYTES];
	xsUnsignedValue length;
	const uint8_t *data = bytesOf(the, 0, &length);
	crypto_hash_sha256(hash, data, length);
	xsmcSetArrayBuffer(xsResult, hash, sizeof hash);
}

void xs_tallystick_public_key(xsMachine *the)
{
	uint8_t public[PUBLIC_KEY_BYTES], secret[SECRET_KEY_BYTES];
	const uint8_t *seed = exactly(the, 0, SEED_BYTES);
	crypto_sign_ed25519_seed_keypair(public, secret, seed);
	sodium_memzero(secret, sizeof secret);
	xsmcSetArrayBuffer(xsResult, public, sizeof public);
}

void xs_tallystick_sign(xsMachine *the)
{
	uint8_t secret[SECRET_KEY_BYTES], signature[SIGNATURE_BYTES];
	xsUnsignedValue length;
	const uint8_t *seed = exactly(the, 1, SEED_BYTES);
	const uint8_t *public = exactly(the, 2, PUBLIC_KEY_BYTES);
	const uint8_t *message = bytesOf(the, 0, &length);
	memcpy(secret, seed, SEED_BYTES);
	memcpy(secret + SEED_BYTES, public, PUBLIC_KEY_BYTES);
	crypto_sign_ed25519_detached(signature, NULL, message, length, secret);
	sodium_memzero(secret, sizeof secret);
	xsmcSetArrayBuffer(xsResult, signature, sizeof signature);
}

void xs_tallystick_verify(xsMachine *the)
{
	xsUnsignedValue length;
	const uint8_t *signature = exactly(the, 0, SIGNATURE_BYTES);
	const uint8_t *public = exactly(the, 2, PUBLIC_KEY_BYTES);
	const uint8_t *message = bytesOf(the, 1, &length);
	xsmcSetBoolean(xsResult, 0 == crypto_sign_ed25519_verify_detached(signature, message, length, public));
}

/*
 * The generator gives true random numbers only while a noise source feeds it (ESP-IDF, "Random Number Generation"):
 * the SAR ADC, which bootloader_random_enable starts and which excludes the radio; or the radio, while it is awake.
 * In between, a driver that is started but not connected may sleep unseen: no number is handed out then.
 */
static int fillFromRadio(uint8_t *out, size_t length)
{
	wifi_ap_record_t connected;
	wifi_ps_type_t sleep;
	if (ESP_OK != esp_wifi_sta_get_ap_info(&connected) || ESP_OK != esp_wifi_get_ps(&sleep))
		return 0;
	if (ESP_OK != esp_wifi_set_ps(WIFI_PS_NONE))
		return 0;
	esp_fill_random(out, length);
	return ESP_OK == esp_wifi_set_ps(sleep);
}

static int fillFromConverter(uint8_t *out, size_t length)
{
	bootloader_random_enable();
	esp_fill_random(out, length);
	bootloader_random_disable();
	return 1;
}

void xs_tallystick_entropy(xsMachine *the)
{
	uint8_t first[ENTROPY_MAX_BYTES], second[ENTROPY_MAX_BYTES];
	wifi_mode_t mode;
	int length = xsmcToInteger(xsArg(0)), filled;
	if (length < 1 || length > ENTROPY_MAX_BYTES)
		xsRangeError("wrong length");
	if (ESP_ERR_WIFI_NOT_INIT == esp_wifi_get_mode(&mode))
		filled = fillFromConverter(first, length) && fillFromConverter(second, length);
	else
		filled = fillFromRadio(first, length) && fillFromRadio(second, length);
	/* A generator that is stuck repeats itself. One draw of 16 bytes or more does so by chance in 2^-128 of cases. */
	if (filled && length >= 16)
		filled = 0 != memcmp(first, second, length);
	sodium_memzero(second, sizeof second);
	if (!filled) {
		sodium_memzero(first, sizeof first);
		xsUnknownError("no entropy source runs");
	}
	xsmcSetArrayBuffer(xsResult, first, length);
	sodium_memzero(first, sizeof first);
}

void xs_tallystick_uptime(xsMachine *the)
{
	xsmcSetNumber(xsResult, (double)(esp_timer_get_time() / 1000));
}

void xs_tallystick_model(xsMachine *the)
{
	xsmcSetString(xsResult, CONFIG_IDF_TARGET);
}

void xs_tallystick_chip_id(xsMachine *the)
{
	uint8_t id[CHIP_ID_BYTES];
	if (ESP_OK != esp_efuse_mac_get_default(id))
		xsUnknownError("the factory MAC address cannot be read");
	xsmcSetArrayBuffer(xsResult, id, sizeof id);
}

void xs_tallystick_reset_reason(xsMachine *the)
{
	xsmcSetInteger(xsResult, esp_reset_reason());
}

void xs_tallystick_firmware_sha256(xsMachine *the)
{
	uint8_t hash[HASH_BYTES];
	if (ESP_OK != esp_partition_get_sha256(esp_ota_get_running_partition(), hash))
		xsUnknownError("the running image cannot be read");
	xsmcSetArrayBuffer(xsResult, hash, sizeof hash);
}

void xs_tallystick_is_encrypted(xsMachine *the)
{
	char label[PARTITION_LABEL_BYTES];
	const esp_partition_t *partition;
	xsmcToStringBuffer(xsArg(0), label, sizeof label);
	partition = esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, label);
	if (NULL == partition)
		xsUnknownError("no such partition");
	xsmcSetBoolean(xsResult, partition->encrypted);
}
