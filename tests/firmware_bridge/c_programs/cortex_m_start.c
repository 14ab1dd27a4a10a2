/* The vector table of a Cortex-M: where the stack begins, what runs after reset, and on a fault. */
#include <stdint.h>

extern uint32_t stack_top;
extern void _start(void); /* newlib's: files over semihosting, then main */

static void fault(void)
{
    for (;;) { /* the test's time limit tells */
    }
}

const void *const vectors[16] __attribute__((section(".vectors"), used)) = {
    &stack_top,          (const void *)_start, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault,  (const void *)fault};
