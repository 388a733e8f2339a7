/* Status codes and messages.
 *
 * Every function that can fail returns an attn_status and, through an optional last parameter, a message that names
 * the value at fault and what would be accepted. A violated precondition is a bug of the caller and is an assert.
 */
#ifndef ATTN_STATUS_H
#define ATTN_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* Marks what the library exports. */
#if defined(__GNUC__)
#define ATTN_API __attribute__((visibility("default")))
#define ATTN_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define ATTN_API
#define ATTN_PRINTF(text, first)
#endif

/* X(name, words): the one list of statuses. */
#define ATTN_STATUS_LIST(X)                                                                                            \
    X(OK, "no error")                                                                                                  \
    X(ARGUMENT, "invalid argument")                                                                                    \
    X(INPUT, "invalid input file")                                                                                     \
    X(UNSUPPORTED, "not applicable")                                                                                   \
    X(MEMORY, "out of memory")                                                                                         \
    X(FILE, "file failure")                                                                                            \
    X(MPI, "MPI failure")                                                                                              \
    X(INTERRUPTED, "interrupted")

typedef enum attn_status {
#define ATTN_STATUS_ENUM(name, words) ATTN_##name,
    ATTN_STATUS_LIST(ATTN_STATUS_ENUM)
#undef ATTN_STATUS_ENUM
        ATTN_STATUS_COUNT
} attn_status;

#define ATTN_MESSAGE_MAX 512

/* A status with one line of text. Owned by the caller; initialise with ATTN_ERROR_INIT. */
typedef struct attn_error {
    attn_status status;
    char message[ATTN_MESSAGE_MAX];
} attn_error;

#define ATTN_ERROR_INIT                                                                                                \
    {                                                                                                                  \
        ATTN_OK, ""                                                                                                    \
    }

/* Tells the words for a status ("out of memory"). Never NULL, for any value; static storage. */
ATTN_API const char *attn_status_words(attn_status status);

/* Stores status and a formatted message in *error and returns status, so that `return attn_error_set(...)` reads well.
 *   error   out, may be NULL: then only the status is passed on
 *   format  in, printf format, one line without a final newline; longer text is cut */
ATTN_API attn_status attn_error_set(attn_error *error, attn_status status, const char *format, ...) ATTN_PRINTF(3, 4);

/* clang's analyzer looks at one file at a time and must be told that the status comes back. */
#ifdef __clang_analyzer__
#define attn_error_set(error, status, ...) ((void)attn_error_set(error, status, __VA_ARGS__), (status))
#endif

#ifdef __cplusplus
}
#endif
#endif
