// The extension module rowbank_server._http2. Signatures and contracts are documented in _http2.pyi.
#include <Python.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <unordered_set>
#include <utility>
#include <vector>

#include "blocks.h"
#include "discarded.h"
#include "endpoint.h"
#include "fast_pushes.h"
#include "fast_reads.h"

namespace nb = nanobind;

namespace rowbank::wire {
namespace {

using python::Discarded;

constexpr double kNsPerS = 1e9;

struct PyCall {
  std::shared_ptr<Call> call;

  std::size_t method() const { return call->method; }
  const Pairs& metadata() const { return call->metadata; }
  std::string peer() const { return call->connection == nullptr ? std::string() : call->connection->peer(); }
  bool active() const { return !call->gone.load(std::memory_order_relaxed); }
  nb::object remaining_s() const {
    if (call->deadline_ns == 0) {
      return nb::none();
    }
    return nb::float_(static_cast<double>(call->deadline_ns - steady_ns()) / kNsPerS);
  }
  nb::object body() const {
    if (call->body.is_python) {
      return nb::borrow(static_cast<PyObject*>(call->body.owner.get()));
    }
    return nb::bytes(call->body.data, call->body_bytes);
  }
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

class PyEndpoint final : public Worker, private PushWaits {
 public:
  PyEndpoint(EndpointOptions options, nb::object handle, nb::object look, nb::object starved, nb::object unconfirmed,
             const std::vector<nb::tuple>& refusals, const std::vector<double>& bounds_s, std::size_t max_keys,
             int most_at_once, const nb::tuple& passes)
      : handle_(std::move(handle)),
        look_(std::move(look)),
        looks_(!look_.is_none()),
        starved_(std::move(starved)),
        unconfirmed_(std::move(unconfirmed)),
        passes_(passes),
        fast_(bounds_s, max_keys, most_at_once),
        pushes_(bounds_s, max_keys, most_at_once, passes_of(passes), this),
        kinds_(kinds_of(options.methods)),
        endpoint_(std::move(options), this) {
    if (fast_.bounds_s().size() > FastTimes::kMostBounds) {
      throw std::invalid_argument("bounds_s: expected at most " + std::to_string(FastTimes::kMostBounds) + ", got " +
                                  std::to_string(fast_.bounds_s().size()));
    }
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
  FastReads& fast() { return fast_; }
  FastPushes& pushes() { return pushes_; }

  // Of (name, rows, steps or none, whether this shard has all buckets, the first that it has, the one behind the last,
  // the lock, the id, whether the journal has its mutations).
  void set_tables(const std::vector<nb::tuple>& given) {
    FastTables tables;
    for (const nb::tuple& one : given) {
      FastTable table;
      table.rows = nb::cast<RowTable*>(one[1]);
      table.steps = one[2].is_none() ? nullptr : nb::cast<StepCounter*>(one[2]);
      table.owner = discarded_.keep(one);
      table.owns_all = nb::cast<bool>(one[3]);
      table.first_bucket = nb::cast<std::uint32_t>(one[4]);
      table.end_bucket = nb::cast<std::uint32_t>(one[5]);
      table.lock = nb::cast<MutationLock*>(one[6]);
      table.table_id = nb::cast<std::uint32_t>(one[7]);
      table.leaves_record = nb::cast<bool>(one[8]);
      tables[nb::cast<std::string>(one[0])] = std::move(table);
    }
    {
      const nb::gil_scoped_release nogil;
      fast_.set_tables(tables);
      pushes_.set_tables(std::move(tables));
    }
    discarded_.drop();
  }

  void serve() {
    const nb::gil_scoped_release nogil;
    endpoint_.serve();
  }

  void work(std::shared_ptr<Call> call) override {
    const std::shared_ptr<Call> kept = call;
    if (std::optional<Answer> fast = fast_answer(*call)) {
      endpoint_.answer(*call, std::move(*fast));
      return;
    }
    Answer answer;
    {
      const nb::gil_scoped_acquire gil;
      discarded_.drop();
      answer = handled(std::move(call));
    }
    kept->body = {};
    endpoint_.answer(*kept, std::move(answer));
  }

  Room allocate(std::size_t method, std::size_t bytes) override {
    // A push that ends up at the handlers is copied for them, unless it lies in an object of theirs.
    if (kinds_[method] != FastMethod::kNone && (kinds_[method] != FastMethod::kPush || pushes_.lately())) {
      std::shared_ptr<char> block = blocks_.take(std::max<std::size_t>(bytes, 1));
      return {block.get(), std::move(block), false};
    }
    const nb::gil_scoped_acquire gil;
    discarded_.drop();
    PyObject* made = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(bytes));
    if (made == nullptr) {
      PyErr_Clear();
      return {};
    }
    return {PyBytes_AsString(made), discarded_.keep(nb::steal(made)), true};
  }

  // What was let in is let in again without the interpreter, until the next sweep: the handlers look at it, too.
  std::optional<Answer> look(const std::string& path, const std::shared_ptr<Call>& call) override {
    if (!looks_) {
      return std::nullopt;
    }
    std::string shown = path;
    for (const auto& [name, value] : call->metadata) {
      if (name == "authorization") {
        shown += '\n' + value;
      }
    }
    {
      const std::lock_guard<std::mutex> locked(let_in_mutex_);
      if (let_in_.count(shown) != 0) {
        return std::nullopt;
      }
    }
    const nb::gil_scoped_acquire gil;
    discarded_.drop();
    try {
      const nb::object told = look_(path, PyCall{call});
      if (!told.is_none()) {
        return answer_of(nb::cast<int>(told[0]), nb::cast<std::string>(told[1]), nb::cast<Pairs>(told[2]));
      }
    } catch (nb::python_error& error) {
      error.discard_as_unraisable("a call of the native endpoint");
      return answer_of(static_cast<int>(Status::kUnknown), "the server could not answer", {});
    }
    const std::lock_guard<std::mutex> locked(let_in_mutex_);
    if (let_in_.size() < kMostLetIn) {
      let_in_.insert(std::move(shown));
    }
    return std::nullopt;
  }

  void sweep() {
    {
      const std::lock_guard<std::mutex> locked(let_in_mutex_);
      let_in_.clear();
    }
    endpoint_.sweep();
  }

  Answer refusal(Refusal why) override { return refusals_[static_cast<std::size_t>(why)]; }

 private:
  std::optional<Answer> fast_answer(const Call& call) {
    if (kinds_[call.method] != FastMethod::kPush) {
      return fast_.answer(kinds_[call.method], call);
    }
    try {
      return pushes_.answer(call);
    } catch (const FastPushes::Broken&) {
      return refusal(Refusal::kBroken);
    }
  }

  void before_wait() override {
    if (endpoint_.waiting() == 0) {
      const nb::gil_scoped_acquire gil;
      starve();
    }
  }

  std::optional<Answer> unconfirmed(const Call& call, const std::shared_ptr<JournalEntry>& entry) override {
    const nb::gil_scoped_acquire gil;
    try {
      const nb::tuple told =
          nb::cast<nb::tuple>(unconfirmed_(PyCall{std::const_pointer_cast<Call>(call.shared_from_this())}, entry));
      if (nb::cast<int>(told[0]) == 0) {
        return std::nullopt;
      }
      return answer_of(nb::cast<int>(told[0]), nb::cast<std::string>(told[1]), nb::cast<Pairs>(told[2]));
    } catch (nb::python_error& error) {
      error.discard_as_unraisable("a call of the native endpoint");
    } catch (const std::exception&) {
    }
    return answer_of(static_cast<int>(Status::kUnknown), "the server could not answer", {});
  }

  // REQUIRES: the interpreter's lock.
  void starve() {
    try {
      starved_();
    } catch (nb::python_error& error) {
      error.discard_as_unraisable("a thread of the native endpoint");
    }
  }

  // REQUIRES: the interpreter's lock.
  Answer handled(std::shared_ptr<Call> call) {
    try {
      if (endpoint_.waiting() == 0) {
        starve();
      }
      const nb::tuple told = nb::cast<nb::tuple>(handle_(PyCall{std::move(call)}));
      Answer answer = answer_of(nb::cast<int>(told[0]), nb::cast<std::string>(told[1]), nb::cast<Pairs>(told[2]));
      if (answer.status == 0) {
        nb::object message = told[3];
        answer.message.data = PyBytes_AsString(message.ptr());
        answer.message.size = static_cast<std::size_t>(PyBytes_Size(message.ptr()));
        answer.message.owner = discarded_.keep(std::move(message));
      }
      return answer;
    } catch (nb::python_error& error) {
      error.discard_as_unraisable("a call of the native endpoint");
    } catch (const std::exception&) {
    }
    return answer_of(static_cast<int>(Status::kUnknown), "the server could not answer", {});
  }

  static PushPasses passes_of(const nb::tuple& passes) {
    return {nb::cast<DedupWindow*>(passes[0]), nb::cast<MutationGate*>(passes[1]), nb::cast<JournalQueue*>(passes[2]),
            nb::cast<Authors*>(passes[3]), nb::cast<std::uint8_t>(passes[4])};
  }

  static std::vector<FastMethod> kinds_of(const std::vector<std::string>& methods) {
    std::vector<FastMethod> kinds;
    for (const std::string& path : methods) {
      const bool pull = path == "/rowbank.v1.RowService/Pull";
      const bool lookup = path == "/rowbank.v1.RowService/Lookup";
      const bool push = path == "/rowbank.v1.RowService/Push";
      kinds.push_back(pull     ? FastMethod::kPull
                      : lookup ? FastMethod::kLookup
                      : push   ? FastMethod::kPush
                               : FastMethod::kNone);
    }
    return kinds;
  }

  static constexpr std::size_t kMostLetIn = 1024;

  Discarded discarded_;
  nb::object handle_;
  nb::object look_;
  const bool looks_;
  std::mutex let_in_mutex_;
  std::unordered_set<std::string> let_in_;  // Paths with tokens.
  nb::object starved_;
  nb::object unconfirmed_;
  nb::object passes_;  // Whose parts `pushes_` knows.
  FastReads fast_;
  FastPushes pushes_;
  Blocks blocks_;
  const std::vector<FastMethod> kinds_;
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
             std::size_t max_message_bytes, std::size_t max_answer_bytes, std::uint32_t max_streams,
             std::size_t max_connections, std::size_t max_arriving, std::size_t max_arriving_a_place,
             double message_timeout_s, nb::object handle, nb::object look, nb::object starved, nb::object unconfirmed,
             const std::vector<nb::tuple>& refusals, const std::vector<double>& bounds_s, std::size_t max_keys,
             int most_at_once, const nb::tuple& passes) {
            EndpointOptions options;
            options.methods = std::move(methods);
            options.unknown_method = std::move(unknown_method);
            options.server_id = std::move(server_id);
            options.max_message_bytes = max_message_bytes;
            options.max_answer_bytes = max_answer_bytes;
            options.max_streams = max_streams;
            options.max_connections = max_connections;
            options.max_arriving = max_arriving;
            options.max_arriving_a_place = max_arriving_a_place;
            options.message_timeout_ns = static_cast<std::int64_t>(message_timeout_s * kNsPerS);
            new (self) PyEndpoint(std::move(options), std::move(handle), std::move(look), std::move(starved),
                                  std::move(unconfirmed), refusals, bounds_s, max_keys, most_at_once, passes);
          },
          nb::kw_only(), nb::arg("methods"), nb::arg("unknown_method"), nb::arg("server_id"),
          nb::arg("max_message_bytes"), nb::arg("max_answer_bytes"), nb::arg("max_streams"), nb::arg("max_connections"),
          nb::arg("max_arriving"), nb::arg("max_arriving_a_place"), nb::arg("message_timeout_s"), nb::arg("handle"),
          nb::arg("look").none(), nb::arg("starved"), nb::arg("unconfirmed"), nb::arg("refusals"), nb::arg("bounds_s"),
          nb::arg("max_keys"), nb::arg("most_at_once"), nb::arg("passes"))
      .def("set_tables", &PyEndpoint::set_tables, nb::arg("tables"))
      .def(
          "set_room", [](PyEndpoint& self, std::int64_t room) { self.pushes().set_room(room); }, nb::arg("room"))
      .def("open_plain",
           [](PyEndpoint& self) {
             self.fast().open();
             self.pushes().open();
           })
      .def(
          "close_plain",
          [](PyEndpoint& self) {
            self.fast().close();
            self.pushes().close();
          },
          nb::call_guard<nb::gil_scoped_release>())
      .def("plain_times",
           [](PyEndpoint& self) {
             std::vector<std::pair<std::vector<std::uint64_t>, double>> told;
             for (const FastMethod method : {FastMethod::kPull, FastMethod::kLookup, FastMethod::kPush}) {
               const bool push = method == FastMethod::kPush;
               const FastTimes& times = push ? self.pushes().times() : self.fast().times(method);
               std::vector<std::uint64_t> counts;
               for (std::size_t i = 0; i <= self.fast().bounds_s().size(); ++i) {
                 counts.push_back(times.counts[i].load(std::memory_order_relaxed));
               }
               told.emplace_back(std::move(counts), static_cast<double>(times.total_ns.load()) / kNsPerS);
             }
             return told;
           })
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
      .def_prop_ro("unfinished",
                   [](PyEndpoint& self) {
                     const nb::gil_scoped_release nogil;
                     return self.endpoint().unfinished();
                   })
      .def(
          "sweep", [](PyEndpoint& self) { self.sweep(); }, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "say_goodbye", [](PyEndpoint& self) { self.endpoint().say_goodbye(); },
          nb::call_guard<nb::gil_scoped_release>())
      .def(
          "stop", [](PyEndpoint& self) { self.endpoint().stop(); }, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("refused", [](PyEndpoint& self) {
        const EndpointCounts counts = self.endpoint().counts();
        return std::vector<std::uint64_t>(std::begin(counts.refused), std::end(counts.refused));
      });
}
