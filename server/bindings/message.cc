// Room for an answer that the core writes itself.
//
// Problem: an answer of megabytes is a `bytes` object, and Python can only make one by copying. Idea: make it with its
// bytes unset and hand out an array over them; rows then go from the table into the answer that gRPC sends. Limit:
// `bytes` never change once somebody may have looked, so the array is for the one who asked, before the object is
// passed on, and not after.
#include <Python.h>

#include <stdexcept>

#include "arrays.h"
#include "bind.h"

namespace rowbank::python {
namespace {

nb::tuple new_message(std::size_t size) {
  nb::object message = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
  if (!message.is_valid()) {
    throw nb::python_error();
  }
  auto* data = reinterpret_cast<std::uint8_t*>(PyBytes_AsString(message.ptr()));
  auto array = nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>>(data, {size}, message);
  return nb::make_tuple(message, nb::cast(array));
}

}  // namespace

void bind_message(nb::module_& m) {
  m.def("new_message", new_message, nb::arg("size"));
}

}  // namespace rowbank::python
