// libmicrohttpd and GnuTLS for Swift. No logic: wraps what Swift cannot call itself (C variadics, va_list), and includes Linux headers
// that Swift's Glibc module lacks.
#ifndef SLUICE_CMICROHTTPD_SHIM_H
#define SLUICE_CMICROHTTPD_SHIM_H
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

// Receives the library's log messages: a Swift function cannot take a va_list.
struct sluice_mhd_sink {
  void *owner;
  void (*message)(void *owner, const char *text);
};

static inline void sluice_mhd_log(void *sink, const char *format, va_list arguments) {
  char text[512];
  vsnprintf(text, sizeof text, format, arguments);
  ((struct sluice_mhd_sink *)sink)->message(((struct sluice_mhd_sink *)sink)->owner, text);
}

// GnuTLS's gnutls_certificate_retrieve_function2: returns the chain and the key for one handshake.
typedef int (*sluice_mhd_certificate)(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count,
                                      const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **chain,
                                      unsigned int *length, gnutls_privkey_t *key);

// Leaves percent-encodings in request targets as they came.
static inline size_t sluice_mhd_unescape(void *owner, struct MHD_Connection *connection, char *text) {
  (void)owner;
  (void)connection;
  return strlen(text);
}

// MHD_start_daemon takes its options as C variadics; numeric options travel in `options`, which ends with MHD_OPTION_END.
// EXTERNAL_LOGGER comes first, as the manual asks, so that faults in later options are logged through it. `sink` must outlive the
// daemon. With a `certificate` callback the daemon speaks TLS, by `priorities`.
static inline struct MHD_Daemon *sluice_mhd_start(unsigned int flags, void *owner, MHD_AccessHandlerCallback handler,
                                                  MHD_RequestCompletedCallback completed, MHD_NotifyConnectionCallback connection,
                                                  struct sluice_mhd_sink *sink, sluice_mhd_certificate certificate,
                                                  const char *priorities, struct MHD_OptionItem *options) {
  if (certificate != NULL)
    return MHD_start_daemon(flags | MHD_USE_TLS, 0, NULL, NULL, handler, owner, MHD_OPTION_EXTERNAL_LOGGER, sluice_mhd_log, sink,
                            MHD_OPTION_UNESCAPE_CALLBACK, sluice_mhd_unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED, completed, owner, MHD_OPTION_NOTIFY_CONNECTION, connection, owner,
                            MHD_OPTION_HTTPS_CERT_CALLBACK, certificate, MHD_OPTION_HTTPS_PRIORITIES, priorities,
                            MHD_OPTION_ARRAY, options, MHD_OPTION_END);
  return MHD_start_daemon(flags, 0, NULL, NULL, handler, owner, MHD_OPTION_EXTERNAL_LOGGER, sluice_mhd_log, sink,
                          MHD_OPTION_UNESCAPE_CALLBACK, sluice_mhd_unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED, completed, owner, MHD_OPTION_NOTIFY_CONNECTION, connection, owner,
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

// The connection's socket; -1 where it is unknown.
static inline int sluice_mhd_socket(struct MHD_Connection *connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  return info == NULL ? -1 : info->connect_fd;
}

// The TLS session; NULL where the connection is plain.
static inline gnutls_session_t sluice_mhd_tls_session(struct MHD_Connection *connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
  return info == NULL ? NULL : (gnutls_session_t)info->tls_session;
}

// Bytes of the request's header, its request line and the empty line at its end included.
static inline size_t sluice_mhd_header_bytes(struct MHD_Connection *connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
  return info == NULL ? 0 : info->header_size;
}

// Calls `part` for each argument of the query and each field of the header, in the order in which they came.
static inline void sluice_mhd_parts(struct MHD_Connection *connection, MHD_KeyValueIteratorN part, void *owner) {
  MHD_get_connection_values_n(connection, MHD_GET_ARGUMENT_KIND | MHD_HEADER_KIND, part, owner);
}

// The context that MHD_NotifyConnectionCallback set.
static inline void *sluice_mhd_context(struct MHD_Connection *connection) {
  return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

// Sets the idle timeout of one connection in seconds.
static inline enum MHD_Result sluice_mhd_set_timeout(struct MHD_Connection *connection, unsigned int seconds) {
  return MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
}
#endif
