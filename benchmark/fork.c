/*
 * The classic server, with a process for each connection. A child reads its request to the end,
 * replies that the message is stored, and exits. (It stores nothing: the benchmark only compares
 * processes with threads.)
 *
 *     cc -O2 -o fork fork.c && ./fork
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024, LONGEST_LINE = 256, LIFE_S = 600 };

/* The conversation of a child, with blocking calls. */
static void converse(int client) {
    static const char stored[] = "Message accepted and stored:\n";
    char line[LONGEST_LINE];
    size_t length = 0;
    ssize_t size;
    while (length < sizeof line
           && (size = read(client, line + length, sizeof line - length)) > 0) {
        length += (size_t) size;
    }
    if (write(client, stored, sizeof stored - 1) < 0) {
        perror("write"); /* the client went away */
    }
}

/* Returns a socket that listens on a free port, and prints the port; -1 after a failure. */
static int listen_anywhere(void) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *) &address, sizeof address) < 0
        || listen(listener, BACKLOG) < 0
        || getsockname(listener, (struct sockaddr *) &address, &length) < 0) {
        perror("listen");
        return -1;
    }
    printf("Listening on port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(void) {
    int listener = listen_anywhere();
    if (listener < 0) {
        return 1;
    }
    signal(SIGCHLD, SIG_IGN); /* children leave no zombies */
    alarm(LIFE_S);            /* the server ends even if the benchmark cannot kill it */
    for (;;) {
        int client = accept(listener, NULL, NULL);
        pid_t child = client < 0 ? -1 : fork();
        if (child == 0) {
            close(listener);
            converse(client);
            _exit(0);
        }
        if (child < 0) {
            perror("accept or fork");
        }
        if (client >= 0) {
            close(client); /* the child has it */
        }
    }
}
