// Columns of stored features and of texts; the work is done without the interpreter's lock.
#include "feature_values.h"

#include <Python.h>
#include <nanobind/stl/string.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "arrays.h"
#include "bind.h"
#include "texts.h"

namespace rowbank::python {
namespace {

std::vector<std::string_view> views_of(const nb::list& values) {
  std::vector<std::string_view> views;
  views.reserve(values.size());
  for (nb::handle value : values) {
    if (value.is_none()) {
      views.emplace_back();
    } else if (PyBytes_Check(value.ptr())) {
      views.emplace_back(PyBytes_AsString(value.ptr()), static_cast<std::size_t>(PyBytes_Size(value.ptr())));
    } else {
      throw std::invalid_argument("values: expected bytes or None in place " + std::to_string(views.size()));
    }
  }
  return views;
}

template <typename T>
nb::object array(std::vector<T>&& data) {
  const std::size_t size = data.size();
  return owned_array(std::move(data), {size});
}

nb::dict decode(const nb::list& values, std::uint8_t kind) {
  if (kind > static_cast<std::uint8_t>(FeatureKind::kTime)) {
    throw std::invalid_argument("kind: expected 0 to 7, got " + std::to_string(kind));
  }
  const auto views = views_of(values);
  FeatureValues made;
  {
    const nb::gil_scoped_release nogil;
    made = decode_feature_values(views, static_cast<FeatureKind>(kind));
  }
  std::vector<std::uint8_t> states(made.states.size());
  for (std::size_t i = 0; i < states.size(); ++i) states[i] = static_cast<std::uint8_t>(made.states[i]);
  nb::dict out;
  out["states"] = array(std::move(states));
  out["digests"] = array(std::move(made.digests));
  out["ends"] = array(std::move(made.ends));
  out["integers"] = array(std::move(made.integers));
  out["doubles"] = array(std::move(made.doubles));
  out["floats"] = array(std::move(made.floats));
  out["bools"] = array(std::move(made.bools));
  out["text"] = array(std::move(made.text));
  out["text_ends"] = array(std::move(made.text_ends));
  return out;
}

const std::int64_t* integers_of(const InArray& array, const char* name) {
  if (array.ndim() != 1 || array.dtype() != nb::dtype<std::int64_t>() || (array.size() > 1 && array.stride(0) != 1)) {
    throw std::invalid_argument(std::string(name) + ": expected a contiguous array of int64 with one dimension");
  }
  return static_cast<const std::int64_t*>(array.data());
}

const std::uint8_t* bytes_of(const InArray& data) {
  if (data.ndim() != 1 || data.dtype() != nb::dtype<std::uint8_t>() || (data.size() > 1 && data.stride(0) != 1)) {
    throw std::invalid_argument("data: expected a contiguous array of uint8 with one dimension");
  }
  return static_cast<const std::uint8_t*>(data.data());
}

void check_place(std::int64_t place, std::size_t count) {
  if (place >= 0 && static_cast<std::size_t>(place) < count) return;
  throw std::invalid_argument("places: expected 0 to " + std::to_string(count) + ", got " + std::to_string(place));
}

TextSpan span_of(const InArray& data, const InArray& ends) {
  const TextSpan span{bytes_of(data), integers_of(ends, "ends"), ends.size()};
  if (!are_ends(span.ends, span.count, data.size())) {
    throw std::invalid_argument("ends: expected ascending ends within the data");
  }
  return span;
}

// Only the ends that are used are looked at, so a text costs the same however many there are.
nb::list texts_at(const InArray& data, const InArray& ends, const InArray& places) {
  const std::int64_t* until = integers_of(ends, "ends");
  const std::int64_t* wanted = integers_of(places, "places");
  const auto* bytes = reinterpret_cast<const char*>(bytes_of(data));
  nb::list made;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::int64_t place = wanted[i];
    check_place(place, ends.size());
    const std::int64_t start = place == 0 ? 0 : until[place - 1];
    const std::int64_t end = until[place];
    if (start < 0 || end < start || static_cast<std::size_t>(end) > data.size()) {
      throw std::invalid_argument("ends: expected ascending ends within the data");
    }
    nb::object text = nb::steal(PyUnicode_DecodeUTF8(bytes + start, static_cast<Py_ssize_t>(end - start), nullptr));
    if (!text.is_valid()) throw nb::python_error();
    made.append(text);
  }
  return made;
}

nb::tuple take(const InArray& data, const InArray& ends, const InArray& places) {
  const TextSpan span = span_of(data, ends);
  const std::int64_t* wanted = integers_of(places, "places");
  for (std::size_t i = 0; i < places.size(); ++i) check_place(wanted[i], span.count);
  Texts made;
  {
    const nb::gil_scoped_release nogil;
    made = take_texts(span, wanted, places.size());
  }
  return nb::make_tuple(array(std::move(made.data)), array(std::move(made.ends)));
}

nb::tuple distinct(const InArray& data, const InArray& ends) {
  const TextSpan span = span_of(data, ends);
  DistinctTexts made;
  {
    const nb::gil_scoped_release nogil;
    made = distinct_texts(span);
  }
  return nb::make_tuple(array(std::move(made.codes)), array(std::move(made.firsts)));
}

}  // namespace

void bind_feature_values(nb::module_& m) {
  m.def("decode_feature_values", decode, nb::arg("values"), nb::arg("kind"));
  m.def("take_texts", take, nb::arg("data").noconvert(), nb::arg("ends").noconvert(), nb::arg("places").noconvert());
  m.def("texts_at", texts_at, nb::arg("data").noconvert(), nb::arg("ends").noconvert(), nb::arg("places").noconvert());
  m.def("distinct_texts", distinct, nb::arg("data").noconvert(), nb::arg("ends").noconvert());
}

}  // namespace rowbank::python
