/*
 * ESP-IDF's esp_efuse.h asks for this name, and mcconfig has no path to where ESP-IDF keeps it. On chips with fuses that
 * efuse.c uses it is the chip's own.
 */
#pragma once

#include "sdkconfig.h"

#if CONFIG_IDF_TARGET_ESP32C3
#include "efuse/esp32c3/include/esp_efuse_chip.h"
#elif CONFIG_IDF_TARGET_ESP32C6
#include "efuse/esp32c6/include/esp_efuse_chip.h"
#elif CONFIG_IDF_TARGET_ESP32H2
#include "efuse/esp32h2/include/esp_efuse_chip.h"
#elif CONFIG_IDF_TARGET_ESP32S2
#include "efuse/esp32s2/include/esp_efuse_chip.h"
#elif CONFIG_IDF_TARGET_ESP32S3
#include "efuse/esp32s3/include/esp_efuse_chip.h"
#else
#error "no target of the Moddable SDK: add its header"
#endif
