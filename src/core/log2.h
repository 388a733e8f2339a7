/* Between logarithms to the base 2, in which the kernels keep scores, and natural ones. */
#ifndef CORE_LOG2_H
#define CORE_LOG2_H

#define LOG2_E 1.44269504088896340736
#define LN_2 0.69314718055994530942

#endif
