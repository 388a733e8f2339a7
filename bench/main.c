/* attnbench: the driver. */
#include <stdio.h>

int main(void)
{
    puts("attnbench");
    return 0;
}
