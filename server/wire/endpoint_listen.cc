// Where an endpoint listens.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "endpoint.h"

namespace rowbank::wire {
namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void set(int socket, int level, int name, int value) {
  ::setsockopt(socket, level, name, &value, sizeof value);
}

bool is_socket(const std::string& path) {
  struct stat found{};
  return ::lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode);
}

}  // namespace

std::string Endpoint::listen(const std::string& host, int port) {
  sockaddr_storage address{};
  socklen_t size = 0;
  auto& four = reinterpret_cast<sockaddr_in&>(address);
  auto& six = reinterpret_cast<sockaddr_in6&>(address);
  if (::inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(static_cast<std::uint16_t>(port));
    size = sizeof four;
  } else if (::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(static_cast<std::uint16_t>(port));
    size = sizeof six;
  } else {
    errno = EINVAL;
    fail("address");
  }
  const int socket = ::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) {
    fail("socket");
  }
  set(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.ss_family == AF_INET6) {
    const bool any = host == "::";
    set(socket, IPPROTO_IPV6, IPV6_V6ONLY, any ? 0 : 1);
  }
  if (::bind(socket, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    const int error = errno;
    ::close(socket);
    errno = error;
    fail("bind");
  }
  start_listening(socket);
  const int bound = ntohs(address.ss_family == AF_INET ? four.sin_port : six.sin6_port);
  return (address.ss_family == AF_INET ? host : "[" + host + "]") + ":" + std::to_string(bound);
}

std::string Endpoint::listen_unix(const std::string& path) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    fail("path");
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) {
    fail("socket");
  }
  // What an earlier process left. Another one's that still answers is left alone.
  if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    ::close(socket);
    errno = EADDRINUSE;
    fail("bind");
  }
  // A file of another kind refuses connections, too; it is not ours to remove.
  if (errno == ECONNREFUSED && is_socket(path)) {
    ::unlink(path.c_str());
  }
  if (::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    ::close(socket);
    errno = error;
    fail("bind");
  }
  is_unix_ = true;
  path_ = path;
  start_listening(socket);
  return "unix:" + path;
}

void Endpoint::start_listening(int socket) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.fd = socket;
  listener_ = socket;
  if (::listen(socket, SOMAXCONN) != 0 || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) != 0) {
    fail("listen");
  }
}

}  // namespace rowbank::wire
