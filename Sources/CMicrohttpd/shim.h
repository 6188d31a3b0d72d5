// libmicrohttpd for Swift. No logic: only what Swift cannot call itself (C variadics, va_list) is wrapped here, with the Linux
// headers the loop around the library needs and Swift's Glibc module leaves out.
#ifndef SLUICE_CMICROHTTPD_SHIM_H
#define SLUICE_CMICROHTTPD_SHIM_H
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

// Where the library's messages go: Swift has no C function that takes a va_list.
struct sluice_mhd_sink {
  void *owner;
  void (*message)(void *owner, const char *text);
};

static inline void sluice_mhd_log(void *sink, const char *format, va_list arguments) {
  char text[512];
  vsnprintf(text, sizeof text, format, arguments);
  ((struct sluice_mhd_sink *)sink)->message(((struct sluice_mhd_sink *)sink)->owner, text);
}

// MHD_start_daemon takes its options as C variadics; numeric options travel in `options`, which ends with MHD_OPTION_END.
// EXTERNAL_LOGGER comes first, as the manual asks, so that faults in later options are logged through it. `sink` must outlive the
// daemon.
static inline struct MHD_Daemon *sluice_mhd_start(unsigned int flags, void *owner, MHD_AccessHandlerCallback handler,
                                                  MHD_RequestCompletedCallback completed, MHD_NotifyConnectionCallback connection,
                                                  struct sluice_mhd_sink *sink, struct MHD_OptionItem *options) {
  return MHD_start_daemon(flags, 0, NULL, NULL, handler, owner, MHD_OPTION_EXTERNAL_LOGGER, sluice_mhd_log, sink,
                          MHD_OPTION_NOTIFY_COMPLETED, completed, owner, MHD_OPTION_NOTIFY_CONNECTION, connection, owner,
                          MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

// The epoll descriptor of a daemon that was started with MHD_USE_EPOLL; -1 where there is none. It belongs to the daemon.
static inline int sluice_mhd_epoll_fd(struct MHD_Daemon *daemon) {
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
  return info == NULL ? -1 : info->epoll_fd;
}

// The peer's address; NULL where it is unknown. Valid as long as the connection.
static inline const struct sockaddr *sluice_mhd_client_address(struct MHD_Connection *connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  return info == NULL ? NULL : info->client_addr;
}

// Names the calling thread, at most 15 characters, for top and gdb.
static inline void sluice_mhd_name_thread(const char *name) { prctl(PR_SET_NAME, name); }
#endif
