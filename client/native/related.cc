#include "related.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace rowbank::client {
namespace {

struct Related {
  double score;
  std::int64_t item;
};

bool before(const Related& a, const Related& b) {
  return a.score != b.score ? a.score > b.score : a.item < b.item;
}

double extent(const std::int64_t* starts, std::int64_t of) {
  return static_cast<double>(starts[of + 1] - starts[of]);
}

}  // namespace

void most_related(const Meetings& met, std::size_t first, std::size_t count, std::size_t length, std::int64_t* out) {
  std::vector<double> shared(met.item_count, 0.0);
  std::vector<std::int64_t> touched;
  std::vector<Related> found;
  for (std::size_t row = 0; row < count; ++row) {
    const auto item = static_cast<std::int64_t>(first + row);
    for (std::int64_t u = met.item_starts[item]; u < met.item_starts[item + 1]; ++u) {
      const std::int64_t user = met.users[u];
      const double weight = 1.0 / extent(met.user_starts, user);
      for (std::int64_t i = met.user_starts[user]; i < met.user_starts[user + 1]; ++i) {
        double& sum = shared[met.items[i]];
        if (sum == 0.0) {
          touched.push_back(met.items[i]);
        }
        sum += weight;
      }
    }
    for (const std::int64_t other : touched) {
      if (other != item) {
        // The item's own number is the same for all and does not change the order.
        found.push_back({shared[other] / std::sqrt(extent(met.item_starts, other)), other});
      }
      shared[other] = 0.0;
    }
    const std::size_t kept = std::min(length, found.size());
    std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(kept), found.end(), before);
    for (std::size_t place = 0; place < length; ++place) {
      out[row * length + place] = place < kept ? found[place].item : -1;
    }
    touched.clear();
    found.clear();
  }
}

}  // namespace rowbank::client
