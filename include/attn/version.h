/* The version of the library and of the driver; CMake reads it from here. */
#ifndef ATTN_VERSION_H
#define ATTN_VERSION_H

#define ATTN_VERSION "0.1.0"

#endif
