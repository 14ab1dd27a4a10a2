/* A function of which test_cortex_m4_cycles.py knows, by hand, what it takes; called twice. */
void worked(void);

__asm__(".thumb\n"
        ".type worked, %function\n"
        ".global worked\n"
        "worked:\n"
        "  push {r4, lr}\n"
        "  mov r2, sp\n"
        "  movs r0, #3\n"
        "1:\n"
        "  ldr r1, [r2]\n"
        "  ldr r3, [r2, #4]\n"
        "  smull r1, r3, r1, r3\n"
        "  subs r0, #1\n"
        "  bne 1b\n"
        "  udiv r1, r1, r2\n"
        "  subs r4, r2, #4\n"
        "  str r1, [r4]\n"
        "  cmp r0, #0\n"
        "  it eq\n"
        "  moveq r0, #7\n"
        "  pop {r4, pc}\n");

int main(void)
{
    worked();
    worked();
    return 0;
}
