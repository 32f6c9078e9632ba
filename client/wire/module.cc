// The extension module rowbank._http2. Signatures and contracts are documented in _http2.pyi.
#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "interpreter.h"
#include "line.h"

namespace nb = nanobind;

namespace rowbank::wire {
namespace {

constexpr double kNsPerS = 1e9;

std::int64_t deadline_of(double timeout_s) {
  constexpr double kLongestS = 1e9;
  return now_ns() + static_cast<std::int64_t>(std::min(timeout_s, kLongestS) * kNsPerS);
}

// What a server says may be no UTF-8.
nb::object text_of(const std::string& text) {
  return nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

// Buffers of Python objects, held as long as this lives. REQUIRES: the interpreter's lock.
class Buffers {
 public:
  explicit Buffers(const nb::sequence& objects) {
    const std::size_t count = nb::len(objects);
    views_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      Py_buffer view{};
      if (PyObject_GetBuffer(nb::object(objects[i]).ptr(), &view, PyBUF_SIMPLE) != 0) {
        release();
        throw nb::python_error();
      }
      views_.push_back(view);
    }
  }
  ~Buffers() { release(); }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  std::vector<Part> parts() const {
    std::vector<Part> parts;
    parts.reserve(views_.size());
    for (const Py_buffer& view : views_) {
      parts.push_back({static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len)});
    }
    return parts;
  }

 private:
  void release() {
    for (Py_buffer& view : views_) {
      PyBuffer_Release(&view);
    }
    views_.clear();
  }
  std::vector<Py_buffer> views_;
};

class PyLine {
 public:
  PyLine(const std::string& address, std::size_t max_message_bytes, double timeout_s) {
    const std::int64_t deadline = deadline_of(timeout_s);
    bool signalled = false;
    std::string failure;
    {
      const Unlocked unlocked;
      try {
        line_ = std::make_unique<Line>(address, max_message_bytes, deadline, [&] { return look(&signalled); });
      } catch (const std::exception& error) {
        failure = error.what();
      }
    }
    if (signalled) {
      throw nb::python_error();
    }
    if (line_ == nullptr) {
      PyErr_SetString(PyExc_OSError, failure.c_str());
      throw nb::python_error();
    }
  }

  bool usable() { return !stopped_.load(std::memory_order_relaxed) && line_->usable(); }

  bool start(const std::string& path, const std::string& authority, const Pairs& metadata, const std::string& timeout,
             const nb::sequence& parts, double timeout_s) {
    const Buffers buffers(parts);
    const Request request{path, authority, metadata, timeout, buffers.parts()};
    const std::int64_t deadline = deadline_of(timeout_s);
    message_ = nb::object();
    bool signalled = false;
    bool written = false;
    {
      const Unlocked unlocked;
      written = line_->start(
          request, [this](std::size_t size) { return room(size); }, deadline, [&] { return look(&signalled); });
    }
    if (signalled) {
      throw nb::python_error();
    }
    return written;
  }

  bool finish(double timeout_s) {
    if (line_->ended()) {
      return true;
    }
    const std::int64_t deadline = deadline_of(timeout_s);
    bool signalled = false;
    bool ended = false;
    {
      const Unlocked unlocked;
      ended = line_->finish(deadline, [&] { return look(&signalled); });
    }
    if (signalled) {
      throw nb::python_error();
    }
    return ended;
  }

  // What was answered: how it ended, status, text, trailers, message.
  nb::tuple take() {
    const Reply& reply = line_->reply();
    nb::object message = reply.has_message && message_.is_valid() ? std::move(message_) : nb::object(nb::none());
    message_ = nb::object();
    line_->end_call();
    const char* ending = reply.ending == Ending::kAnswered ? "answered"
                         : reply.ending == Ending::kUnsent ? "unsent"
                                                           : "lost";
    nb::list trailers;
    for (const auto& [name, value] : reply.trailers) {
      trailers.append(nb::make_tuple(text_of(name), text_of(value)));
    }
    return nb::make_tuple(ending, reply.status, text_of(reply.text), trailers, message);
  }

  void stop() { stopped_.store(true, std::memory_order_relaxed); }
  void abandon() { line_->abandon(); }
  void disown() { line_->disown(); }

 private:
  // Called without the interpreter's lock.
  bool look(bool* signalled) {
    if (stopped_.load(std::memory_order_relaxed)) {
      return true;
    }
    const Locked locked;
    *signalled = PyErr_CheckSignals() != 0;
    return *signalled;
  }
  char* room(std::size_t size) {
    const Locked locked;
    PyObject* made = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size));
    if (made == nullptr) {
      PyErr_Clear();
      return nullptr;
    }
    message_ = nb::steal(made);
    return PyBytes_AsString(made);
  }

  std::unique_ptr<Line> line_;
  nb::object message_;
  std::atomic<bool> stopped_{false};
};

}  // namespace
}  // namespace rowbank::wire

NB_MODULE(_http2, m) {
  using namespace rowbank::wire;
  nb::set_leak_warnings(false);
  nb::class_<PyLine>(m, "Line")
      .def(nb::init<const std::string&, std::size_t, double>(), nb::arg("address"), nb::kw_only(),
           nb::arg("max_message_bytes"), nb::arg("timeout_s"))
      .def("usable", &PyLine::usable)
      .def("start", &PyLine::start, nb::arg("path"), nb::arg("authority"), nb::arg("metadata"), nb::arg("timeout"),
           nb::arg("parts"), nb::arg("timeout_s"))
      .def("finish", &PyLine::finish, nb::arg("timeout_s"))
      .def("take", &PyLine::take)
      .def("stop", &PyLine::stop)
      .def("abandon", &PyLine::abandon)
      .def("disown", &PyLine::disown);
}
