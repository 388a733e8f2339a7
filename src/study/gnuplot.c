#include "study/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Standard input, output and error of the child. The script comes from a file, not a pipe, so that a child that ends
 * early raises no signal here. */
typedef struct child_streams {
    FILE *script, *messages;
    int picture;
} child_streams;

static int spawn(const child_streams *s, pid_t *child)
{
    char name[] = "gnuplot";
    char *const arguments[] = {name, NULL};
    posix_spawn_file_actions_t actions;
    int failure = posix_spawn_file_actions_init(&actions);

    if (failure != 0)
        return failure;
    failure = posix_spawn_file_actions_adddup2(&actions, fileno(s->script), STDIN_FILENO);
    if (failure == 0)
        failure = posix_spawn_file_actions_adddup2(&actions, s->picture, STDOUT_FILENO);
    if (failure == 0)
        failure = posix_spawn_file_actions_adddup2(&actions, fileno(s->messages), STDERR_FILENO);
    if (failure == 0)
        failure = posix_spawnp(child, name, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failure;
}

/* The first line of gnuplot's messages that says something. */
static void first_message(FILE *messages, char *line, int size)
{
    rewind(messages);
    while (fgets(line, size, messages) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[strspn(line, " \t^")] != '\0' && strncmp(line, "gnuplot>", 8) != 0)
            return;
    }
    snprintf(line, (size_t)size, "no message");
}

static attn_status run(const child_streams *s, attn_error *error)
{
    int result = 0, failure;
    char message[256];
    struct stat picture;
    pid_t child;

    failure = spawn(s, &child);
    if (failure != 0)
        return attn_error_set(error, ATTN_UNSUPPORTED, "gnuplot cannot be started (%s); install gnuplot to draw",
                              strerror(failure));
    while (waitpid(child, &result, 0) < 0)
        if (errno != EINTR)
            return attn_error_set(error, ATTN_UNSUPPORTED, "gnuplot was lost: %s", strerror(errno));
    if (!WIFEXITED(result) || WEXITSTATUS(result) != 0) {
        /* The child of posix_spawn may report a missing program by its exit code. */
        if (WIFEXITED(result) && WEXITSTATUS(result) == 127)
            return attn_error_set(error, ATTN_UNSUPPORTED, "gnuplot cannot be started; install gnuplot to draw");
        first_message(s->messages, message, (int)sizeof message);
        return attn_error_set(error, ATTN_UNSUPPORTED, "gnuplot failed: %s", message);
    }
    if (fstat(s->picture, &picture) != 0 || picture.st_size == 0) {
        first_message(s->messages, message, (int)sizeof message);
        return attn_error_set(error, ATTN_UNSUPPORTED, "gnuplot drew nothing: %s", message);
    }
    return ATTN_OK;
}

static attn_status open_streams(child_streams *s, const char *script, size_t length, attn_error *error)
{
    s->script = tmpfile();
    s->messages = tmpfile();
    if (s->script == NULL || s->messages == NULL || fwrite(script, 1, length, s->script) != length ||
        fflush(s->script) != 0 || lseek(fileno(s->script), 0, SEEK_SET) != 0)
        return attn_error_set(error, ATTN_FILE, "a temporary file for gnuplot: %s", strerror(errno));
    return ATTN_OK;
}

/* Copies the picture to what is no file, such as a pipe. */
static attn_status copy_to(int picture, const char *path, attn_error *error)
{
    const int target = open(path, O_WRONLY | O_CLOEXEC);
    bool good = target >= 0 && lseek(picture, 0, SEEK_SET) == 0;
    char block[4096];
    ssize_t count;

    while (good && (count = read(picture, block, sizeof block)) != 0) {
        good = count > 0;
        for (ssize_t done = 0, step; good && done < count; done += step) {
            step = write(target, block + done, (size_t)(count - done));
            good = step > 0;
        }
    }
    if (!good)
        attn_error_set(error, ATTN_FILE, "%s: %s", path, strerror(errno));
    if (target >= 0)
        close(target);
    return good ? ATTN_OK : ATTN_FILE;
}

/* A finished picture gets its name at once; a pipe keeps its own. */
static attn_status publish(int picture, const char *temporary, const char *path, attn_error *error)
{
    struct stat target;
    attn_status status = ATTN_OK;

    if (stat(path, &target) == 0 && !S_ISREG(target.st_mode)) {
        status = copy_to(picture, path, error);
        unlink(temporary);
    } else if (fsync(picture) != 0 || rename(temporary, path) != 0) {
        status = attn_error_set(error, ATTN_FILE, "%s: %s", path, strerror(errno));
    }
    return status;
}

attn_status attn_gnuplot_draw(const char *script, size_t length, const char *path, attn_error *error)
{
    const size_t size = strlen(path) + 32;
    char *temporary = malloc(size);
    child_streams s = {.picture = -1};
    attn_status status;

    if (temporary == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory to draw %s", path);
    snprintf(temporary, size, "%s.%ld.tmp", path, (long)getpid());
    status = open_streams(&s, script, length, error);
    if (status != ATTN_OK)
        goto cleanup;
    s.picture = open(temporary, O_RDWR | O_CREAT | O_TRUNC, 0666);
    if (s.picture < 0) {
        status = attn_error_set(error, ATTN_FILE, "%s: %s", path, strerror(errno));
        goto cleanup;
    }
    status = run(&s, error);
    if (status == ATTN_OK)
        status = publish(s.picture, temporary, path, error);
    if (status != ATTN_OK)
        unlink(temporary);

cleanup:
    if (s.picture >= 0)
        close(s.picture);
    if (s.messages != NULL)
        fclose(s.messages);
    if (s.script != NULL)
        fclose(s.script);
    free(temporary);
    return status;
}
