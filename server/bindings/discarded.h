// Python objects that are not needed any more, from threads that do not hold the interpreter's lock.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <mutex>
#include <vector>

namespace rowbank::python {

// Thread-safe. Has to outlive what it keeps.
class Discarded {
 public:
  // REQUIRES: the caller holds the interpreter's lock. Keeps `object` until the result is gone, and a little longer.
  std::shared_ptr<void> keep(nanobind::object object) {
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

}  // namespace rowbank::python
