// Commands for Redis, written without the interpreter's lock.
#include "resp.h"

#include <Python.h>

#include <stdexcept>
#include <string>

#include "arrays.h"
#include "bind.h"
#include "bytes.h"

namespace rowbank::python {
namespace {

template <typename Command>
nb::object written(const Command& command) {
  const std::size_t bytes = resp::size(command);
  nb::object out = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(bytes)));
  if (!out.is_valid()) {
    throw nb::python_error();
  }
  char* room = PyBytes_AsString(out.ptr());
  const nb::gil_scoped_release nogil;
  resp::write(command, room);
  return out;
}

KeySpan fields_of(const InArray& keys) {
  const KeySpan span = keys_of(keys);
  if (span.size == 0) {
    throw std::invalid_argument("keys: expected at least one, got none");
  }
  return span;
}

nb::object hset_command(const nb::bytes& key, const InArray& keys, const nb::bytes& packed) {
  const KeySpan span = fields_of(keys);
  const std::string_view rows = view_of(packed);
  if (rows.size() % span.size != 0) {
    throw std::invalid_argument("packed: expected " + std::to_string(span.size) + " rows of one size, got " +
                                std::to_string(rows.size()) + " bytes");
  }
  return written(resp::HashRows{view_of(key), span.data, span.size, rows.data(), rows.size() / span.size});
}

nb::object hdel_command(const nb::bytes& key, const InArray& keys) {
  const KeySpan span = fields_of(keys);
  return written(resp::HashFields{view_of(key), span.data, span.size});
}

}  // namespace

void bind_resp(nb::module_& m) {
  const auto keys = nb::arg("keys").noconvert();
  m.def("hset_command", hset_command, nb::arg("key"), keys, nb::arg("packed"));
  m.def("hdel_command", hdel_command, nb::arg("key"), keys);
}

}  // namespace rowbank::python
