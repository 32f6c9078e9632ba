#include "flat_index.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace rowbank {
namespace {

constexpr std::size_t kChunkBlocks = 32;  // 512 items: their codes stay in the cache for all queries of a batch.
constexpr std::size_t kFirstBlocks = 4;   // At first, when everything may be among the best.
// Of how many positions at most one may be eligible for their float vectors to be scored alone. A scan costs a query
// less the more queries share the reading of the codes; measured at 1 M x 64 with 1 to 16 queries.
std::size_t direct_share(std::size_t queries) {
  return 12 + 2 * std::min<std::size_t>(queries, 18);
}

// One of `parts` shares of a range, of about the same size.
Range share(Range whole, std::size_t part, std::size_t parts) {
  const std::size_t start = whole.count * part / parts;
  return {whole.first + start, whole.count * (part + 1) / parts - start};
}

}  // namespace

// The blocks of a chunk that hold somebody eligible for one query, with what goes with them.
struct FlatIndex::Chunk {
  std::uint32_t blocks[kChunkBlocks];
  std::uint16_t excluded[kChunkBlocks];
  float bonus[kChunkBlocks * kScanBlock];
  std::size_t count;

  bool same_blocks(const Chunk& other) const {
    return count == other.count && std::memcmp(blocks, other.blocks, count * sizeof(blocks[0])) == 0;
  }

  void list_blocks(const std::uint8_t* exclude, std::size_t size, std::size_t first, std::size_t here) {
    count = here;
    for (std::size_t i = 0; i < here; ++i) blocks[i] = static_cast<std::uint32_t>(first + i);
    if (exclude == nullptr) return;
    // A caller's bitmap may end after the first byte of the last block.
    const std::size_t bytes = std::min(2 * here, (size + 7) / 8 - 2 * first);
    std::memset(excluded, 0xFF, sizeof(excluded));
    std::memcpy(excluded, exclude + 2 * first, bytes);
    unsigned full = 0;
    for (std::size_t i = 0; i < kChunkBlocks; ++i) full += excluded[i] == 0xFFFF ? 1U : 0U;
    if (full == kChunkBlocks - here) return;
    count = 0;
    for (std::size_t i = 0; i < here; ++i) {
      if (excluded[i] == 0xFFFF) continue;
      blocks[count] = blocks[i];
      excluded[count++] = excluded[i];
    }
  }

  void list_bonus(const float* added, std::size_t size) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t first = static_cast<std::size_t>(blocks[i]) * kScanBlock;
      const std::size_t here = std::min(kScanBlock, size - first);
      float* out = bonus + i * kScanBlock;
      std::copy(added + first, added + first + here, out);
      std::fill(out + here, out + kScanBlock, 0.0F);
    }
  }
};

// The largest of each chunk, for sifting.
void FlatIndex::note_slack() {
  const std::size_t items = blocks() * kScanBlock;
  const std::size_t chunk = kChunkBlocks * kScanBlock;
  for (std::size_t first = 0; first < items; first += chunk) {
    const std::size_t end = std::min(items, first + chunk);
    slack_.push_back({*std::max_element(arrays_.items.error + first, arrays_.items.error + end),
                      *std::max_element(arrays_.items.norm + first, arrays_.items.norm + end)});
  }
}

FlatIndex::FlatIndex(const float* vectors, std::size_t size, std::size_t dim, const ScanKernel& kernel)
    : size_(size), dim_(dim), kernel_(&kernel) {
  check_vector_shape(size, dim);
  copied_.assign(vectors, vectors + size * dim);
  vectors_ = copied_.data();
  encoded_ = encode_vectors(vectors_, dim_, nullptr, size_);
  arrays_ = encoded_.arrays();
  note_slack();
}

FlatIndex::FlatIndex(std::shared_ptr<const void> owner, const float* vectors, std::size_t size, std::size_t dim,
                     const ScanKernel& kernel)
    : size_(size), dim_(dim), kernel_(&kernel), owner_(std::move(owner)), vectors_(vectors) {
  check_vector_shape(size, dim);
  encoded_ = encode_vectors(vectors_, dim_, nullptr, size_);
  arrays_ = encoded_.arrays();
  note_slack();
}

FlatIndex::FlatIndex(std::shared_ptr<const void> owner, const float* vectors, std::size_t size, std::size_t dim,
                     const CodeArrays& arrays, const ScanKernel& kernel)
    : size_(size), dim_(dim), kernel_(&kernel), owner_(std::move(owner)), vectors_(vectors), arrays_(arrays) {
  check_vector_shape(size, dim);
  note_slack();
}

std::size_t FlatIndex::bytes() const {
  const std::size_t padded = blocks() * kScanBlock;
  return size_ * dim_ * sizeof(float) + padded * (4 * groups() + 3 * sizeof(float));
}

// Of `count` queries without a bonus, at most kTogether: the codes are read once for all of them where they want the
// same blocks. Meanwhile the blocks from `coming` on are asked for.
void FlatIndex::sift(Range range, TopSearch* const* queries, std::size_t count, Range coming) const {
  Chunk own[kTogether];
  const Chunk* chunks[kTogether];
  SiftedQuery sifted[kTogether];
  const Slack& slack = slack_[range.first / kChunkBlocks];
  bool alike = true;
  for (std::size_t i = 0; i < count; ++i) {
    const bool shared = i != 0 && queries[i]->exclude() == queries[i - 1]->exclude();
    if (!shared) own[i].list_blocks(queries[i]->exclude(), size_, range.first, range.count);
    chunks[i] = shared ? chunks[i - 1] : &own[i];
    sifted[i] = {queries[i]->codes(),
                 least_scaled(queries[i]->bounds(), queries[i]->threshold(), slack.error, slack.norm)};
    alike = alike && (chunks[i] == chunks[0] || chunks[i]->same_blocks(*chunks[0]));
  }
  std::uint16_t masks[kTogether * kChunkBlocks];
  std::int32_t dots[kTogether * kChunkBlocks * kScanBlock];
  const std::uint8_t* ahead = arrays_.codes + coming.first * groups() * 4 * kScanBlock;
  const std::size_t step = alike ? count : 1;
  for (std::size_t i = 0; i < count; i += step) {
    kernel_->sift({arrays_.codes, chunks[i]->blocks, chunks[i]->count, groups(), arrays_.items.scale, sifted + i, step,
                   ahead, i == 0 ? coming.count * groups() : 0},
                  masks, dots);
    take_sifted(chunks + i, masks, dots, queries + i, step);
  }
}

// Offers queries of a sift over the same blocks what may be among their best: of the items whose bits are set. Few
// blocks have any, so those are looked for first, and what more has to be known of them is asked for ahead.
void FlatIndex::take_sifted(const Chunk* const* chunks, std::uint16_t* masks, const std::int32_t* dots,
                            TopSearch* const* queries, std::size_t count) const {
  const std::size_t wanted = chunks[0]->count;
  std::uint16_t places[kTogether * kChunkBlocks];
  std::size_t found = 0;
  for (std::size_t q = 0; q < count; ++q) {
    const bool refuses = queries[q]->exclude() != nullptr;
    for (std::size_t i = 0; i < wanted; ++i) {
      std::uint16_t& mask = masks[q * wanted + i];
      if (mask == 0) continue;
      if (refuses) mask &= static_cast<std::uint16_t>(~chunks[q]->excluded[i]);
      if (mask == 0) continue;
      places[found++] = static_cast<std::uint16_t>(q * wanted + i);
      const std::size_t first = static_cast<std::size_t>(chunks[0]->blocks[i]) * kScanBlock;
      __builtin_prefetch(arrays_.items.error + first);
      __builtin_prefetch(arrays_.items.norm + first);
    }
  }
  for (std::size_t place = 0; place < found; ++place) {
    const std::size_t at = places[place];
    const std::size_t first = static_cast<std::size_t>(chunks[0]->blocks[at % wanted]) * kScanBlock;
    for (unsigned mask = masks[at]; mask != 0; mask &= mask - 1) {
      const auto lane = static_cast<std::size_t>(__builtin_ctz(mask));
      if (first + lane >= size_) break;  // Padding of the last block.
      offer(first + lane, dots[at * kScanBlock + lane], nullptr, *queries[at / wanted]);
    }
  }
}

void FlatIndex::offer(std::size_t item, std::int32_t dot, const float* bonus, TopSearch& query) const {
  const ItemColumns& items = arrays_.items;
  const float scale = items.scale[item];
  const float error = items.error[item];
  const float norm = items.norm[item];
  const ScoreRange range = bonus == nullptr ? score_range(dot, scale, error, norm, query.bounds())
                                            : score_range(dot, scale, error, norm, query.bounds(), *bonus);
  // The threshold may have risen within the chunk.
  if (range.upper >= query.threshold()) query.offer(static_cast<std::uint32_t>(item), range);
}

// Offers a query what of some blocks may be among its best.
void FlatIndex::scan(Range range, TopSearch& query) const {
  Chunk chunk;
  chunk.list_blocks(query.exclude(), size_, range.first, range.count);
  if (query.bonus() != nullptr) chunk.list_bonus(query.bonus(), size_);
  std::int32_t dots[kChunkBlocks * kScanBlock];
  std::uint32_t hits[kChunkBlocks * kScanBlock];
  kernel_->dot(arrays_.codes, chunk.blocks, chunk.count, groups(), query.codes(), dots);
  const ListedBlocks listed{chunk.blocks, chunk.count, query.exclude() == nullptr ? nullptr : chunk.excluded,
                            query.bonus() == nullptr ? nullptr : chunk.bonus};
  const std::size_t count = kernel_->filter(dots, listed, arrays_.items, query.bounds(), query.threshold(), hits);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t at = hits[i];
    const std::size_t item = static_cast<std::size_t>(chunk.blocks[at / kScanBlock]) * kScanBlock + at % kScanBlock;
    if (item >= size_) continue;  // Padding of the last block.
    offer(item, dots[at], listed.bonus == nullptr ? nullptr : listed.bonus + at, query);
  }
}

void FlatIndex::search(const SearchRequest& request, std::int64_t* positions, float* scores) const {
  check_bonus(request, size_);
  const ScoredVectors items{vectors_, size_, dim_};
  std::vector<TopSearch> queries;
  queries.reserve(request.count);
  for (std::size_t i = 0; i < request.count; ++i) queries.emplace_back(request, i, items, *kernel_);
  std::vector<TopSearch*> sifted;   // Together, as far as their blocks are the same.
  std::vector<TopSearch*> scanned;  // Each by itself.
  for (TopSearch& query : queries) {
    if (request.k == 0) continue;
    if (query.exclude() != nullptr && query.eligible() <= size_ / direct_share(request.count)) {
      query.score_eligible();
    } else {
      (kernel_->sift != nullptr && query.bonus() == nullptr ? sifted : scanned).push_back(&query);
    }
  }
  const std::size_t parts = (sifted.size() + kTogether - 1) / kTogether;  // Of about the same size.
  const std::size_t blocks = sifted.empty() && scanned.empty() ? 0 : this->blocks();
  Range now{0, 0};
  for (; now.first < blocks; now.first += now.count) {
    now.count = std::min(now.first < kChunkBlocks ? kFirstBlocks : kChunkBlocks, blocks - now.first);
    const Range next{now.first + now.count, std::min(kChunkBlocks, blocks - now.first - now.count)};
    for (std::size_t part = 0; part < parts; ++part) {
      const Range queries = share({0, sifted.size()}, part, parts);
      sift(now, sifted.data() + queries.first, queries.count, share(next, part, parts));
    }
    for (TopSearch* query : scanned) scan(now, *query);
  }
  const std::size_t k = request.k;
  for (std::size_t i = 0; i < request.count; ++i) queries[i].finish(k, positions + i * k, scores + i * k);
}

void search_vectors(const float* vectors, std::size_t size, std::size_t dim, const SearchRequest& request,
                    std::int64_t* positions, float* scores) {
  check_bonus(request, size);
  const ScoredVectors items{vectors, size, dim};
  for (std::size_t i = 0; i < request.count; ++i) {
    TopSearch query(request, i, items, scan_kernel());
    if (request.k != 0) query.score_eligible();
    query.finish(request.k, positions + i * request.k, scores + i * request.k);
  }
}

}  // namespace rowbank
