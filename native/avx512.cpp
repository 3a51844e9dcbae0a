// The kernels for AVX-512: 16 lanes in a vector. Derived from scalar.hpp, line by line.
#include <immintrin.h>

#include "scalar.hpp"

namespace intaglio {
namespace {

constexpr std::size_t kWidth = 16;

inline __mmask16 first_lanes(std::size_t count) { return static_cast<__mmask16>((1u << count) - 1); }  // 16 at most

inline std::size_t lowest(unsigned bits) { return static_cast<std::size_t>(__builtin_ctz(bits)); }

inline std::size_t ones(std::uint64_t bits) { return static_cast<std::size_t>(_mm_popcnt_u64(bits)); }

void select(const View& view, const std::uint8_t* rows, std::size_t size, Block& block) {
    __m512i certain[4];  // 256 flags, looked up by the low 7 bits in two pairs, of which the high bit chooses
    for (std::size_t part = 0; part < 4; ++part) certain[part] = _mm512_loadu_si512(view.certain + 64 * part);
    std::size_t count = 0;
    for (std::size_t start = 0; start < size; start += 64) {
        const std::size_t part = size - start < 64 ? size - start : 64;
        const __mmask64 mask = ~std::uint64_t{0} >> (64 - part);
        const __m512i row = _mm512_maskz_loadu_epi8(mask, rows + start);
        const __m512i low = _mm512_permutex2var_epi8(certain[0], row, certain[1]);
        const __m512i high = _mm512_permutex2var_epi8(certain[2], row, certain[3]);
        const __m512i flag = _mm512_mask_blend_epi8(_mm512_movepi8_mask(row), low, high);
        const __mmask64 coded = mask & ~_mm512_movepi8_mask(flag);
        _mm512_storeu_si512(block.rows + count, _mm512_maskz_compress_epi8(coded, row));
        block.coded[start / 64] = coded;
        count += ones(coded);
    }
    block.count = count;
}

inline __m512i load32(const std::int16_t* symbols, __mmask32 mask) { return _mm512_maskz_loadu_epi16(mask, symbols); }

inline __m512i load32(const std::int32_t* symbols, __mmask32 mask) {
    const __m512i low = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(mask), symbols);
    const __m512i high = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(mask >> 16), symbols + 16);
    const __m512i clamped = _mm512_castsi256_si512(_mm512_cvtsepi32_epi16(low));
    return _mm512_inserti64x4(clamped, _mm512_cvtsepi32_epi16(high), 1);
}

template <class Symbol>
void gather(const Symbol* symbols, std::size_t size, Block& block) {
    std::size_t count = 0;
    block.marked = 0;
    for (std::size_t start = 0; start < size; start += 32) {
        const std::size_t part = size - start < 32 ? size - start : 32;
        const __mmask32 mask = ~std::uint32_t{0} >> (32 - part);
        const __m512i symbol = load32(symbols + start, mask);
        const auto coded = static_cast<__mmask32>(block.coded[start / 64] >> start % 64);
        _mm512_storeu_si512(block.symbols + count, _mm512_maskz_compress_epi16(coded, symbol));
        count += ones(coded);
        std::uint32_t surprises = _mm512_test_epi16_mask(symbol, symbol) & ~coded;
        for (; surprises != 0; surprises &= surprises - 1)
            block.marks[block.marked++] = static_cast<std::uint16_t>(start + lowest(surprises));
    }
}

void scatter(const Block& block, std::int32_t* symbols, std::size_t size) {
    std::size_t count = 0;
    for (std::size_t start = 0; start < size; start += 32) {
        const std::size_t part = size - start < 32 ? size - start : 32;
        const __mmask32 mask = ~std::uint32_t{0} >> (32 - part);
        const auto coded = static_cast<__mmask32>(block.coded[start / 64] >> start % 64);
        const __m512i next = _mm512_loadu_si512(block.symbols + count);
        const __m512i symbol = _mm512_maskz_expand_epi16(coded, next);
        count += ones(coded);
        const __m512i low = _mm512_cvtepi16_epi32(_mm512_castsi512_si256(symbol));
        const __m512i high = _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(symbol, 1));
        _mm512_mask_storeu_epi32(symbols + start, static_cast<__mmask16>(mask), low);
        _mm512_mask_storeu_epi32(symbols + start + 16, static_cast<__mmask16>(mask >> 16), high);
    }
}

// Sixteen table entries of 64 bits, as their low and their high halves.
struct Entries {
    __m512i low;
    __m512i high;
};

inline Entries look_up(const void* table, __m512i index, __mmask16 mask) {
    const __m512i none = _mm512_setzero_si512();
    const auto low = static_cast<__mmask8>(mask);
    const auto high = static_cast<__mmask8>(mask >> 8);
    const __m512i a = _mm512_mask_i32gather_epi64(none, low, _mm512_castsi512_si256(index), table, 8);
    const __m512i b = _mm512_mask_i32gather_epi64(none, high, _mm512_extracti64x4_epi64(index, 1), table, 8);
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return {_mm512_permutex2var_epi32(a, even, b), _mm512_permutex2var_epi32(a, odd, b)};
}

inline __m512i load_rows(const Block& block, std::size_t at) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block.rows + at)));
}

inline __m512i load_symbols(const Block& block, std::size_t at) {
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(block.symbols + at)));
}

inline __m512i low_half(__m512i value) { return _mm512_and_si512(value, _mm512_set1_epi32(0xffff)); }

// Cells of the symbols that are not in the table of near ones; escapes are marked.
[[gnu::noinline]] Entries far_cells(const View& view, Block& block, std::size_t at, __mmask16 mask) {
    const __m512i row = load_rows(block, at);
    const __m512i symbol = load_symbols(block, at);
    const Entries table = look_up(view.rows, row, mask);  // base; first and regular
    const __m512i regular = _mm512_srli_epi32(table.high, 16);
    const __m512i first = _mm512_srai_epi32(_mm512_slli_epi32(table.high, 16), 16);
    const __m512i offset = _mm512_min_epu32(_mm512_sub_epi32(symbol, first), regular);
    const __mmask16 escapes = _mm512_mask_cmpeq_epi32_mask(mask, offset, regular);
    for (std::size_t i = kWidth; escapes != 0 && i-- > 0;)
        if (escapes >> i & 1) block.marks[block.marked++] = static_cast<std::uint16_t>(at + i);
    return look_up(view.cells, _mm512_add_epi32(table.low, offset), mask);
}

inline std::uint8_t* encode_vector(const View& view, std::uint32_t* states, Block& block, std::size_t at,
                                   __mmask16 mask, std::uint8_t* words) {
    const __m512i before = _mm512_load_si512(states);
    const __m512i row = load_rows(block, at);
    const __m512i symbol = load_symbols(block, at);
    const __m512i shifted = _mm512_add_epi32(symbol, _mm512_set1_epi32(kNear / 2));
    const __mmask16 near = _mm512_mask_cmplt_epu32_mask(mask, shifted, _mm512_set1_epi32(kNear));
    Entries cell = look_up(view.near, _mm512_or_si512(_mm512_slli_epi32(row, kNearBits), shifted), near);
    __m512i frequency = _mm512_srli_epi32(cell.low, 16);
    const __mmask16 far = _mm512_mask_testn_epi32_mask(mask, frequency, frequency);
    if (far != 0) [[unlikely]] {
        const Entries other = far_cells(view, block, at, far);
        cell = {_mm512_mask_mov_epi32(cell.low, far, other.low), _mm512_mask_mov_epi32(cell.high, far, other.high)};
        frequency = _mm512_srli_epi32(cell.low, 16);
    }
    const __mmask16 full = _mm512_mask_cmpge_epu32_mask(mask, before, _mm512_slli_epi32(frequency, 32 - kPrecision));
    const std::size_t leaving = ones(full);
    words -= 2 * leaving;
    const __m512i packed = _mm512_maskz_compress_epi32(full, before);
    _mm256_mask_storeu_epi16(words, first_lanes(leaving), _mm512_cvtepi32_epi16(packed));
    const __m512i state = _mm512_mask_srli_epi32(before, full, before, 16);
    const __m512 product = _mm512_mul_ps(_mm512_cvtepu32_ps(state), _mm512_castsi512_ps(cell.high));
    const __m512i quotient = _mm512_cvttps_epu32(product);
    const __m512i rest = _mm512_sub_epi32(state, _mm512_mullo_epi32(quotient, frequency));
    const __m512i whole = _mm512_add_epi32(_mm512_slli_epi32(quotient, kPrecision), low_half(cell.low));
    const __m512i sum = _mm512_add_epi32(whole, rest);
    const __m512i one_more = _mm512_sub_epi32(_mm512_set1_epi32(kTotal), frequency);
    const __m512i next = _mm512_mask_add_epi32(sum, _mm512_cmpge_epu32_mask(rest, frequency), sum, one_more);
    _mm512_store_si512(states, _mm512_mask_mov_epi32(before, mask, next));  // a masked store would not be forwarded
    return words;
}

std::uint8_t* encode(const View& tables, Lanes& lanes, Block& block, std::size_t last, std::uint8_t* words) {
    if (lanes.count < kWidth) return kAvx2.encode(tables, lanes, block, last, words);
    const View view = tables;  // a copy that no store can change
    const std::size_t turn = lanes.count - 1;
    std::size_t at = last / kWidth * kWidth;
    if (at < last) words = encode_vector(view, lanes.state + (at & turn), block, at, first_lanes(last - at), words);
    while (at > 0) {
        at -= kWidth;
        words = encode_vector(view, lanes.state + (at & turn), block, at, 0xffff, words);
    }
    return words;
}

inline __m512i decode_vector(const View& view, __m512i state, Block& block, std::size_t at, __mmask16 mask) {
    const __m512i row = load_rows(block, at);
    const __m512i slot = _mm512_and_si512(state, _mm512_set1_epi32(kTotal - 1));
    const __m512i index = _mm512_or_si512(_mm512_slli_epi32(row, kBucketBits), _mm512_srli_epi32(slot, kBucketShift));
    const Entries bucket = look_up(view.buckets, index, mask);  // start and left; symbol and right
    const __m512i left = _mm512_srli_epi32(bucket.low, 16);
    const __m512i start = low_half(bucket.low);
    const __m512i middle = _mm512_add_epi32(start, left);
    const __mmask16 right = _mm512_cmpge_epu32_mask(slot, middle);
    const __m512i frequency = _mm512_mask_srli_epi32(left, right, bucket.high, 16);
    const __m512i rest = _mm512_sub_epi32(slot, _mm512_mask_mov_epi32(start, right, middle));
    const __m512i symbol = _mm512_mask_add_epi32(bucket.high, right, bucket.high, _mm512_set1_epi32(1));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(block.symbols + at), _mm512_cvtepi32_epi16(symbol));
    __m512i next = _mm512_add_epi32(_mm512_mullo_epi32(frequency, _mm512_srli_epi32(state, kPrecision)), rest);
    const __mmask16 missed = _mm512_mask_cmpge_epu32_mask(mask, rest, frequency);
    if (missed == 0) [[likely]]
        return next;
    alignas(64) std::uint32_t states[kWidth];
    _mm512_store_si512(states, state);
    for (unsigned left_over = missed; left_over != 0; left_over &= left_over - 1) {
        const std::size_t i = lowest(left_over);
        const auto fixed = static_cast<int>(take_missed(view, block, at + i, states[i]));
        next = _mm512_mask_set1_epi32(next, static_cast<__mmask16>(1u << i), fixed);
    }
    return next;
}

inline void decode_step(const View& view, std::uint32_t* states, Block& block, std::size_t at, __mmask16 mask,
                        const std::uint8_t*& next) {
    const __m512i before = _mm512_load_si512(states);
    const __m512i state = decode_vector(view, before, block, at, mask);
    const __mmask16 empty = _mm512_mask_cmplt_epu32_mask(mask, state, _mm512_set1_epi32(kLower));
    const __m512i word = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(next)));
    const __m512i fed = _mm512_or_si512(_mm512_slli_epi32(state, 16), _mm512_maskz_expand_epi32(empty, word));
    _mm512_store_si512(states, _mm512_mask_mov_epi32(_mm512_mask_mov_epi32(before, mask, state), empty, fed));
    next += 2 * ones(empty);
}

// One step of a trellis; see Following in scalar.hpp.
inline void follow_step(const View& view, std::uint32_t* states, Block& block, std::uint32_t* chains, std::size_t at,
                        __mmask16 mask, const std::uint8_t*& next) {
    const __m512i chain = _mm512_load_si512(chains);
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i odd = _mm512_slli_epi32(_mm512_and_si512(chain, one), 6);
    const __m512i row = _mm512_or_si512(load_rows(block, at), odd);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(block.rows + at), _mm512_cvtepi32_epi8(row));
    decode_step(view, states, block, at, mask, next);
    const __m512i nibbles = _mm512_set1_epi32(static_cast<int>(kNextStates));
    const __m512i even = _mm512_srlv_epi32(nibbles, _mm512_slli_epi32(chain, 2));
    const __m512i parity = _mm512_slli_epi32(_mm512_and_si512(load_symbols(block, at), one), 1);
    const __m512i after = _mm512_xor_si512(_mm512_and_si512(even, _mm512_set1_epi32(7)), parity);
    _mm512_store_si512(chains, _mm512_mask_mov_epi32(chain, mask, after));
}

bool follow(const View& tables, Lanes& lanes, Block& block, Chains& chains, Span span, Words& words) {
    const auto [first, last] = span;
    if (lanes.count < kWidth || chains.count < kWidth || first % kWidth) return kAvx2.follow(tables, lanes, block, chains, span, words);
    const View view = tables;  // copies that no store can change
    const std::size_t turn = lanes.count - 1;
    const std::uint8_t* next = words.next;
    const std::uint8_t* const end = words.end;
    for (std::size_t at = first; at < last; at += kWidth) {
        const __mmask16 mask = last - at < kWidth ? first_lanes(last - at) : static_cast<__mmask16>(0xffff);
        std::uint32_t* const chain = chains.state + (at & (chains.count - 1));
        follow_step(view, lanes.state + ((at - first) & turn), block, chain, at, mask, next);
        if (next > end) return false;
    }
    words.next = next;
    return true;
}

bool decode(const View& tables, Lanes& lanes, Block& block, std::size_t first, std::size_t last, Words& words) {
    if (lanes.count < kWidth) return kAvx2.decode(tables, lanes, block, first, last, words);
    const View view = tables;  // copies that no store can change
    const std::size_t turn = lanes.count - 1;
    const std::uint8_t* next = words.next;
    const std::uint8_t* const end = words.end;
    std::size_t at = first;
    for (; at + kWidth <= last; at += kWidth) {
        decode_step(view, lanes.state + ((at - first) & turn), block, at, 0xffff, next);
        if (next > end) return false;
    }
    if (at < last) decode_step(view, lanes.state + ((at - first) & turn), block, at, first_lanes(last - at), next);
    words.next = next;
    return next <= end;
}

}  // namespace

constinit const Kernels kAvx512{
    "avx512", select, gather<std::int16_t>, gather<std::int32_t>, scatter, encode, decode, follow};

}  // namespace intaglio
