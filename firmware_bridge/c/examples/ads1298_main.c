/* A whole ECG board in one file: an ADS1298, a UART, the ecg-edge wire format.
 *
 * Copy it, write the functions of ads1298_hal.h for your board, and check two things against your
 * wiring: LEADS (which lead each channel measures) and REGISTERS (your electrodes' Wilson terminal
 * and lead-off sensing). `ecg-edge stream --device /dev/ttyUSB0` is the other end.
 *
 * The loop never waits for the line. It takes a frame when DRDY falls, sends ten at a time, and
 * answers commands in between. Register values: ADS1298 datasheet (Texas Instruments SBAS459). */
#include <string.h>

#include "ads1298_hal.h"
#include "ecg_ads129x.h"
#include "ecg_decoder.h"
#include "ecg_leads.h"
#include "ecg_packet.h"

#define CHANNELS 8u
#define FRAME_BYTES ECG_ADS129X_FRAME_BYTES(CHANNELS)
#define FRAMES_PER_PACKET 10u /* 20 ms at 500 Hz: no visible delay, and headers cost little */
#define VREF_UV 2400000u      /* internal reference, CONFIG3 below */
#define GAIN 6u               /* CHnSET = 0x00 below */
#define SENSE_P 0xFFu         /* lead-off sensing on every positive input ... */
#define SENSE_N 0x03u         /* ... and on the negative ones of I and II; V1 to V6 share WCT */
#define SECOND_US 1000000u

static const uint8_t LEADS[CHANNELS] = {ECG_LEAD_I,  ECG_LEAD_II, ECG_LEAD_V1, ECG_LEAD_V2,
                                        ECG_LEAD_V3, ECG_LEAD_V4, ECG_LEAD_V5, ECG_LEAD_V6};
static const char FIRMWARE[] = "ads1298 example 1.0";

/* Commands of the converter, and registers that do not depend on the rate. */
enum { CMD_START = 0x08, CMD_STOP = 0x0A, CMD_RDATAC = 0x10, CMD_SDATAC = 0x11, CMD_WREG = 0x40 };
enum { REG_CONFIG1 = 0x01 };
static const uint8_t REGISTERS[][2] = {
    {0x02, 0x00},    /* CONFIG2: no test signal */
    {0x03, 0xCC},    /* CONFIG3: internal 2.4 V reference, right-leg drive on */
    {0x04, 0x03},    /* LOFF: lead-off detection by direct current */
    {0x05, 0x00},    /* CH1SET: electrode, gain 6 */
    {0x06, 0x00},    /* CH2SET */
    {0x07, 0x00},    /* CH3SET */
    {0x08, 0x00},    /* CH4SET */
    {0x09, 0x00},    /* CH5SET */
    {0x0A, 0x00},    /* CH6SET */
    {0x0B, 0x00},    /* CH7SET */
    {0x0C, 0x00},    /* CH8SET */
    {0x0F, SENSE_P}, /* LOFF_SENSP */
    {0x10, SENSE_N}, /* LOFF_SENSN */
    {0x17, 0x02},    /* CONFIG4: lead-off comparators on */
    {0x18, 0x0A},    /* WCT1, WCT2: Wilson's central terminal from the limb electrodes */
    {0x19, 0xE3},
};

/* CONFIG1 of each rate: high resolution at 500 and 1000, low power at 250. */
static const struct {
    uint16_t rate;
    uint8_t config1;
} RATES[] = {{250, 0x06}, {500, 0x86}, {1000, 0x85}};
#define DEFAULT_RATE 1u /* its place in RATES */

static uint8_t state = ECG_IDLE;
static unsigned rate_at = DEFAULT_RATE;      /* of the run under way */
static unsigned next_rate_at = DEFAULT_RATE; /* of the next run */
static uint16_t sequence;
static uint32_t frame_index; /* of the next frame of this run */
static uint32_t overruns;    /* frames of this run that were dropped */
static uint64_t next_report_us;

static uint8_t counts[3u * CHANNELS * FRAMES_PER_PACKET];
static ecg_packet_t pending; /* the SAMPLES packet that is being filled */

static ecg_decoder_t decoder;
static uint8_t command_buffer[ECG_COMMAND_BUFFER];

/* Converter ---------------------------------------------------------------------------------- */

static void converter_command(uint8_t command)
{
    hal_spi_transfer(&command, NULL, 1);
    hal_delay_us(2);
}

static void converter_write(uint8_t address, uint8_t value)
{
    uint8_t bytes[3];

    bytes[0] = (uint8_t)(CMD_WREG | address);
    bytes[1] = 0; /* one register */
    bytes[2] = value;
    hal_spi_transfer(bytes, NULL, sizeof bytes);
    hal_delay_us(2);
}

static void converter_start(void)
{
    converter_command(CMD_SDATAC); /* registers cannot be written while data streams */
    converter_command(CMD_STOP);
    converter_write(REG_CONFIG1, RATES[rate_at].config1);
    for (size_t k = 0; k < sizeof REGISTERS / sizeof REGISTERS[0]; k++) {
        converter_write(REGISTERS[k][0], REGISTERS[k][1]);
    }
    converter_command(CMD_START);
    converter_command(CMD_RDATAC);
}

static void converter_stop(void)
{
    converter_command(CMD_SDATAC);
    converter_command(CMD_STOP);
}

/* Packets to the host ------------------------------------------------------------------------ */

static void send(ecg_packet_t *packet)
{
    static uint8_t out[ECG_PACKET_BYTES(ECG_SAMPLES_BYTES(FRAMES_PER_PACKET, CHANNELS))];

    packet->sequence = sequence++;
    hal_uart_write(out, ecg_packet_encode(packet, out, sizeof out));
}

static void send_hello(void)
{
    ecg_packet_t packet;

    memset(&packet, 0, sizeof packet);
    packet.type = ECG_HELLO;
    packet.time_us = hal_micros();
    packet.as.hello.rate = RATES[state == ECG_STREAMING ? rate_at : next_rate_at].rate;
    packet.as.hello.pv_per_lsb = ecg_ads129x_pv_per_lsb(VREF_UV, GAIN);
    packet.as.hello.channels = CHANNELS;
    memcpy(packet.as.hello.leads, LEADS, sizeof LEADS);
    packet.as.hello.text = FIRMWARE;
    packet.as.hello.text_length = (uint8_t)(sizeof FIRMWARE - 1u);
    send(&packet);
}

static void send_status(void)
{
    ecg_packet_t packet;

    memset(&packet, 0, sizeof packet);
    packet.type = ECG_STATUS;
    packet.time_us = hal_micros();
    packet.as.status.state = state;
    packet.as.status.overruns = overruns;
    packet.as.status.battery_mv = hal_battery_mv();
    send(&packet);
}

static void send_ack(const ecg_packet_t *command, uint8_t result)
{
    ecg_packet_t packet;

    memset(&packet, 0, sizeof packet);
    packet.type = ECG_ACK;
    packet.time_us = hal_micros();
    packet.as.ack.command = command->type;
    packet.as.ack.command_sequence = command->sequence;
    packet.as.ack.result = result;
    send(&packet);
}

static void send_pending(void)
{
    if (pending.as.samples.frames > 0) {
        send(&pending);
        pending.as.samples.frames = 0;
    }
}

/* Frames from the converter ------------------------------------------------------------------- */

/* Count frames that were there but could not be had; the index tells the host where. */
static void drop_frames(unsigned frames)
{
    send_pending();
    frame_index += frames;
    overruns += frames;
}

static void take_frame(void)
{
    static const uint8_t nothing[FRAME_BYTES];
    uint8_t bytes[FRAME_BYTES];
    ecg_samples_t *samples = &pending.as.samples;
    ecg_ads129x_frame_t frame;
    uint64_t now = hal_micros();
    uint16_t off;

    hal_spi_transfer(nothing, bytes, sizeof bytes);
    if (!ecg_ads129x_parse(bytes, sizeof bytes, CHANNELS, &frame)) {
        drop_frames(1);
        return;
    }
    off = ecg_ads129x_lead_off(&frame, SENSE_P, SENSE_N);
    if (samples->frames > 0 && off != samples->lead_off) {
        send_pending(); /* frames of a packet share one mask */
    }
    if (samples->frames == 0) {
        pending.type = ECG_SAMPLES;
        pending.time_us = now;
        samples->index = frame_index;
        samples->channels = CHANNELS;
        samples->lead_off = off;
        samples->counts = counts;
    }
    memcpy(counts + 3u * CHANNELS * samples->frames, frame.counts, 3u * CHANNELS);
    samples->frames++;
    frame_index++;
    if (samples->frames == FRAMES_PER_PACKET) {
        send_pending();
    }
}

/* Commands from the host ---------------------------------------------------------------------- */

static void start_run(void)
{
    rate_at = next_rate_at;
    frame_index = 0;
    overruns = 0;
    pending.as.samples.frames = 0; /* of the run before, whose end the host has ordered */
    state = ECG_STREAMING;
    next_report_us = hal_micros() + SECOND_US;
    converter_start();
}

static void set_rate(const ecg_packet_t *command)
{
    for (unsigned k = 0; k < sizeof RATES / sizeof RATES[0]; k++) {
        if (RATES[k].rate == command->as.set_rate) {
            next_rate_at = k;
            send_ack(command, ECG_DONE);
            return;
        }
    }
    send_ack(command, command->as.set_rate != 0 ? ECG_UNSUPPORTED : ECG_BAD_ARGUMENT);
}

static void obey(const ecg_packet_t *command)
{
    switch (command->type) {
    case ECG_IDENTIFY:
        send_hello();
        break;
    case ECG_START:
        send_ack(command, ECG_DONE);
        start_run();
        send_hello();
        break;
    case ECG_STOP:
        converter_stop();
        send_pending();
        state = ECG_IDLE;
        send_ack(command, ECG_DONE);
        break;
    case ECG_SET_RATE:
        set_rate(command);
        break;
    default: /* what a device sends is no command */
        break;
    }
}

static void receive(void)
{
    uint8_t byte;
    ecg_packet_t command;

    while (hal_uart_read(&byte)) {
        if (ecg_decoder_push(&decoder, byte, &command)) {
            obey(&command);
        }
    }
}

static void report(void)
{
    uint64_t now = hal_micros();

    if (now >= next_report_us) {
        next_report_us = now + SECOND_US;
        if (state == ECG_STREAMING) {
            send_status();
        } else {
            send_hello();
        }
    }
}

int main(void)
{
    static const uint8_t end_of_packet = 0;

    ecg_decoder_init(&decoder, command_buffer, sizeof command_buffer, NULL);
    converter_stop();
    hal_uart_write(&end_of_packet, 1); /* whatever went before on the line ends here */
    for (;;) {
        unsigned frames = hal_wait_drdy();
        if (state == ECG_STREAMING && frames > 1) {
            drop_frames(frames - 1);
        }
        if (state == ECG_STREAMING && frames > 0) {
            take_frame();
        }
        receive();
        report();
    }
}
