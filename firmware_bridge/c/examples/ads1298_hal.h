/* What the example needs of a board: seven functions, to be written for yours. */
#ifndef ADS1298_HAL_H
#define ADS1298_HAL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Return microseconds since reset, on the clock that also times the converter; never goes back. */
uint64_t hal_micros(void);

/* Wait for that long. */
void hal_delay_us(uint32_t us);

/* Wait until DRDY falls or about 10 ms have passed. Returns how often DRDY has fallen since the
 * last call, best counted by its interrupt: 0 after a wait in vain, 1 for a frame to read, more
 * when frames before it have been missed. */
unsigned hal_wait_drdy(void);

/* With chip select low, clock out send[0..length) and store what comes in; SPI mode 1, at most
 * 4 MHz between command bytes. receive may be NULL. */
void hal_spi_transfer(const uint8_t *send, uint8_t *receive, size_t length);

/* Queue data[0..length) for the UART and return at once; the data is copied. 921600 baud carries
 * 8 channels at 500 Hz with 15 % of its capacity. */
void hal_uart_write(const uint8_t *data, size_t length);

/* Take a received byte, if there is one. Returns 1 with it in *byte, else 0. */
int hal_uart_read(uint8_t *byte);

/* Return the battery in millivolts, 0 when not known. */
uint16_t hal_battery_mv(void);

#ifdef __cplusplus
}
#endif

#endif
