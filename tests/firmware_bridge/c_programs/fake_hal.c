/* A board that replays what stands on stdin. Each event is a letter, the microseconds that have
 * passed (uint32), a length (uint8) and bytes:
 *     D   DRDY has fallen, and this is the frame
 *     M   DRDY has fallen, and the program was too late for the frame
 *     R   these bytes have come over the UART
 *     W   nothing has happened
 * What goes to the UART is written to stdout, what goes to the converter to stderr in hex, a line
 * each. Ends the program after the last event. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ads1298_hal.h"

static uint64_t now;
static uint8_t frame[256];
static uint8_t received[256];
static size_t received_length;
static size_t received_at;

uint64_t hal_micros(void)
{
    return now;
}

void hal_delay_us(uint32_t us)
{
    now += us;
}

unsigned hal_wait_drdy(void)
{
    static unsigned missed;
    uint32_t passed;
    int event = getchar();
    size_t length;
    uint8_t *bytes = event == 'R' ? received : frame;

    if (event == EOF || fread(&passed, sizeof passed, 1, stdin) != 1) {
        exit(0);
    }
    now += passed;
    length = (size_t)getchar();
    if (fread(bytes, 1, length, stdin) != length) {
        exit(1);
    }
    if (event == 'R') {
        received_length = length;
        received_at = 0;
    }
    if (event == 'M') {
        missed++;
        return hal_wait_drdy();
    }
    if (event == 'D') {
        unsigned frames = missed + 1;
        missed = 0;
        return frames;
    }
    return 0;
}

void hal_spi_transfer(const uint8_t *send, uint8_t *receive, size_t length)
{
    if (receive != NULL) {
        memcpy(receive, frame, length);
        return;
    }
    for (size_t i = 0; i < length; i++) {
        fprintf(stderr, "%02x", send[i]);
    }
    fputc('\n', stderr);
}

void hal_uart_write(const uint8_t *data, size_t length)
{
    fwrite(data, 1, length, stdout);
}

int hal_uart_read(uint8_t *byte)
{
    if (received_at == received_length) {
        return 0;
    }
    *byte = received[received_at++];
    return 1;
}

uint16_t hal_battery_mv(void)
{
    return 3700;
}
