// The extension module rowbank_server._http2. Signatures and contracts are documented in _http2.pyi.
#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "endpoint.h"

namespace nb = nanobind;

namespace rowbank::wire {
namespace {

constexpr double kNsPerS = 1e9;

// Python objects that are not needed any more, from threads that do not hold the interpreter's lock.
class Discarded {
 public:
  // REQUIRES: the caller holds the interpreter's lock. Keeps `object` until the result is gone, and a little longer.
  std::shared_ptr<void> keep(nb::object object) {
    return {object.release().ptr(), [this](void* kept) {
              const std::lock_guard<std::mutex> locked(mutex_);
              objects_.push_back(static_cast<PyObject*>(kept));
            }};
  }
  // REQUIRES: the caller holds the interpreter's lock.
  void drop() {
    std::vector<PyObject*> objects;
    {
      const std::lock_guard<std::mutex> locked(mutex_);
      objects.swap(objects_);
    }
    for (PyObject* object : objects) {
      Py_DECREF(object);
    }
  }

 private:
  std::mutex mutex_;
  std::vector<PyObject*> objects_;
};

struct PyCall {
  std::shared_ptr<Call> call;

  std::size_t method() const { return call->method; }
  const Pairs& metadata() const { return call->metadata; }
  const std::string& peer() const { return call->connection->peer(); }
  bool active() const { return !call->gone.load(std::memory_order_relaxed); }
  nb::object remaining_s() const {
    if (call->deadline_ns == 0) {
      return nb::none();
    }
    return nb::float_(static_cast<double>(call->deadline_ns - now_ns()) / kNsPerS);
  }
  nb::object body() const { return nb::borrow(static_cast<PyObject*>(call->body.owner.get())); }
};

using PyAnswer = std::tuple<int, std::string, Pairs>;

Answer answer_of(int status, std::string text, Pairs trailers) {
  Answer answer;
  answer.status = status;
  answer.text = std::move(text);
  answer.trailers = std::move(trailers);
  return answer;
}

// `listen`, with the system's error as Python's OSError.
template <typename Listen>
std::string listening(Listen listen) {
  try {
    return listen();
  } catch (const std::system_error& error) {
    errno = error.code().value();
    PyErr_SetFromErrno(PyExc_OSError);
    throw nb::python_error();
  }
}

class PyEndpoint final : public Worker {
 public:
  PyEndpoint(EndpointOptions options, nb::object handle, nb::object starved, const std::vector<nb::tuple>& refusals)
      : handle_(std::move(handle)), starved_(std::move(starved)), endpoint_(std::move(options), this) {
    if (refusals.size() != kRefusals) {
      throw std::invalid_argument("refusals: expected " + std::to_string(kRefusals) + ", got " +
                                  std::to_string(refusals.size()));
    }
    for (std::size_t i = 0; i < kRefusals; ++i) {
      refusals_[i] = answer_of(nb::cast<int>(refusals[i][0]), nb::cast<std::string>(refusals[i][1]),
                               nb::cast<Pairs>(refusals[i][2]));
    }
  }

  Endpoint& endpoint() { return endpoint_; }

  void serve() {
    const nb::gil_scoped_release nogil;
    endpoint_.serve();
  }

  void work(std::shared_ptr<Call> call) override {
    Answer answer;
    const std::shared_ptr<Call> kept = call;
    {
      const nb::gil_scoped_acquire gil;
      discarded_.drop();
      answer = handled(std::move(call));
    }
    kept->body = {};
    endpoint_.answer(*kept, std::move(answer));
  }

  Room allocate(std::size_t bytes) override {
    const nb::gil_scoped_acquire gil;
    discarded_.drop();
    PyObject* made = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(bytes));
    if (made == nullptr) {
      PyErr_Clear();
      return {};
    }
    return {PyBytes_AS_STRING(made), discarded_.keep(nb::steal(made))};
  }

  Answer refusal(Refusal why) override { return refusals_[static_cast<std::size_t>(why)]; }

 private:
  // REQUIRES: the interpreter's lock.
  Answer handled(std::shared_ptr<Call> call) {
    try {
      if (endpoint_.waiting() == 0) {
        starved_();
      }
      const nb::tuple told = nb::cast<nb::tuple>(handle_(PyCall{std::move(call)}));
      Answer answer = answer_of(nb::cast<int>(told[0]), nb::cast<std::string>(told[1]), nb::cast<Pairs>(told[2]));
      if (answer.status == 0) {
        nb::object message = told[3];
        answer.message.data = PyBytes_AS_STRING(message.ptr());
        answer.message.size = static_cast<std::size_t>(PyBytes_GET_SIZE(message.ptr()));
        answer.message.owner = discarded_.keep(std::move(message));
      }
      return answer;
    } catch (nb::python_error& error) {
      error.discard_as_unraisable("a call of the native endpoint");
    } catch (const std::exception&) {
    }
    return answer_of(static_cast<int>(Status::kUnknown), "the server could not answer", {});
  }

  Discarded discarded_;
  nb::object handle_;
  nb::object starved_;
  std::array<Answer, kRefusals> refusals_;
  Endpoint endpoint_;
};

}  // namespace
}  // namespace rowbank::wire

NB_MODULE(_http2, m) {
  using namespace rowbank::wire;
  nb::set_leak_warnings(false);
  nb::class_<PyCall>(m, "Call")
      .def_prop_ro("method", &PyCall::method)
      .def_prop_ro("metadata", &PyCall::metadata)
      .def_prop_ro("peer", &PyCall::peer)
      .def_prop_ro("active", &PyCall::active)
      .def_prop_ro("remaining_s", &PyCall::remaining_s)
      .def_prop_ro("body", &PyCall::body);
  nb::class_<PyEndpoint>(m, "Endpoint")
      .def(
          "__init__",
          [](PyEndpoint* self, std::vector<std::string> methods, std::string unknown_method, std::string server_id,
             std::size_t max_message_bytes, std::uint32_t max_streams, std::size_t max_connections,
             std::size_t max_arriving, std::size_t max_arriving_a_place, double message_timeout_s, nb::object handle,
             nb::object starved, const std::vector<nb::tuple>& refusals) {
            EndpointOptions options;
            options.methods = std::move(methods);
            options.unknown_method = std::move(unknown_method);
            options.server_id = std::move(server_id);
            options.max_message_bytes = max_message_bytes;
            options.max_streams = max_streams;
            options.max_connections = max_connections;
            options.max_arriving = max_arriving;
            options.max_arriving_a_place = max_arriving_a_place;
            options.message_timeout_ns = static_cast<std::int64_t>(message_timeout_s * kNsPerS);
            new (self) PyEndpoint(std::move(options), std::move(handle), std::move(starved), refusals);
          },
          nb::kw_only(), nb::arg("methods"), nb::arg("unknown_method"), nb::arg("server_id"),
          nb::arg("max_message_bytes"), nb::arg("max_streams"), nb::arg("max_connections"), nb::arg("max_arriving"),
          nb::arg("max_arriving_a_place"), nb::arg("message_timeout_s"), nb::arg("handle"), nb::arg("starved"),
          nb::arg("refusals"))
      .def(
          "listen",
          [](PyEndpoint& self, const std::string& host, int port) {
            return listening([&] { return self.endpoint().listen(host, port); });
          },
          nb::arg("host"), nb::arg("port"))
      .def(
          "listen_unix",
          [](PyEndpoint& self, const std::string& path) {
            return listening([&] { return self.endpoint().listen_unix(path); });
          },
          nb::arg("path"))
      .def("serve", &PyEndpoint::serve)
      .def_prop_ro("working", [](PyEndpoint& self) { return self.endpoint().working(); })
      .def("sweep",
           [](PyEndpoint& self) {
             const nb::gil_scoped_release nogil;
             self.endpoint().sweep();
           })
      .def("say_goodbye",
           [](PyEndpoint& self) {
             const nb::gil_scoped_release nogil;
             self.endpoint().say_goodbye();
           })
      .def("stop",
           [](PyEndpoint& self) {
             const nb::gil_scoped_release nogil;
             self.endpoint().stop();
           })
      .def_prop_ro("connections", [](PyEndpoint& self) { return self.endpoint().counts().connections; })
      .def_prop_ro("refused", [](PyEndpoint& self) {
        const EndpointCounts counts = self.endpoint().counts();
        return std::vector<std::uint64_t>(std::begin(counts.refused), std::end(counts.refused));
      });
}
