"""The inner loops of index and search, compiled by numba when they are first called and kept in its cache.

None holds Python's lock, so several threads run them at once. Sizes: d components of a vector, k centroids.
"""

import numpy as np
from numba import njit

_compiled = njit(nogil=True, cache=True, fastmath=True)


@_compiled
def pack(values, cutoffs, bits, packed):
    """Bucket numbers of `values` (n, d), `bits` each, into `packed` (n, d * bits / 8)."""
    per_byte = 8 // bits
    for row in range(len(values)):
        for byte in range(packed.shape[1]):
            joined = 0
            for place in range(per_byte):
                bucket = 0
                for cutoff in cutoffs:
                    bucket += values[row, byte * per_byte + place] >= cutoff
                joined |= bucket << (place * bits)
            packed[row, byte] = joined


@_compiled
def measure(codes, packed, centroids, spread, expanded, places, scales):
    """Write what brings the sum of centroid and unpacked residual to length 1 into `scales` (n,), in bytes.

    A byte b stands for a factor of 0.5 + b / 128, which is right to 0.4%.
    """
    vector = np.empty(centroids.shape[1], dtype=np.float32)
    for row in range(len(codes)):
        _unpack(packed[row], expanded, places, vector)
        total = np.float32(0)
        for component in range(len(vector)):
            value = vector[component] * spread[component] + centroids[codes[row], component]
            total += value * value
        factor = 1 / max(np.sqrt(total), 1e-6)
        scales[row] = np.uint8(min(max((factor - 0.5) * 128 + 0.5, 0), 255))


@_compiled
def _unpack(packed, expanded, places, vector):
    """Write a packed residual into `vector` (d,); `places` is a tuple as long as a byte has components.

    Numba compiles this for each length of the tuple; the inner loop is then one instruction.
    """
    for byte in range(len(packed)):
        for place in range(len(places)):
            vector[byte * len(places) + place] = expanded[packed[byte], place]


@_compiled
def count_documents(codes, offsets, counts):
    """Add to `counts` (k,) how many documents have a token of each centroid; document i is offsets[i] to [i + 1]."""
    last = np.full(len(counts), -1, dtype=np.int64)
    for document in range(len(offsets) - 1):
        for code in codes[offsets[document] : offsets[document + 1]]:
            if last[code] != document:
                last[code] = document
                counts[code] += 1


@_compiled
def list_documents(codes, offsets, ends, documents):
    """Write the documents of each centroid, rising, into `documents`; `ends` (k,) are where its list begins, and ends
    after the call."""
    last = np.full(len(ends), -1, dtype=np.int64)
    for document in range(len(offsets) - 1):
        for code in codes[offsets[document] : offsets[document + 1]]:
            if last[code] != document:
                last[code] = document
                documents[ends[code]] = document
                ends[code] += 1


@_compiled
def score_centroids(query, centroids, scores, table):
    """Write the products of `centroids` (k, d) and `query` (m, d) into `scores` (k, m), rounded into `table` (k, w).

    m is a multiple of 4, w at least m. A byte of the table is 255 times the product, 0 where it is negative.
    """
    for code in range(0, len(centroids), 2):
        other = min(code + 1, len(centroids) - 1)
        for token in range(0, len(query), 4):
            left, right = _products(centroids[code], centroids[other], query[token : token + 4])
            for place in range(4):
                scores[code, token + place], scores[other, token + place] = left[place], right[place]
                table[code, token + place] = np.uint8(min(max(left[place], 0), 1) * 255)
                table[other, token + place] = np.uint8(min(max(right[place], 0), 1) * 255)


@_compiled
def _products(left, right, query):
    """Inner products of two vectors (d,) with each of four (4, d). So many fill the registers of a processor."""
    a = b = c = d = e = f = g = h = np.float32(0)
    for place in range(len(left)):
        x, y = left[place], right[place]
        p, q, r, s = query[0, place], query[1, place], query[2, place], query[3, place]
        a, b, c, d = a + x * p, b + x * q, c + x * r, d + x * s
        e, f, g, h = e + y * p, f + y * q, g + y * r, h + y * s
    return (a, b, c, d), (e, f, g, h)


@_compiled
def nearest_centroids(scores, probes):
    """The rows of the largest `scores` (k, m) of each column, largest first: (m, probes). Among equals the first."""
    tokens = scores.shape[1]
    found = np.zeros((tokens, probes), dtype=np.int64)
    best = np.full((tokens, probes), -np.inf, dtype=np.float32)
    for code in range(len(scores)):
        for token in range(tokens):
            score = scores[code, token]
            if score > best[token, -1]:
                place = probes - 1
                while place > 0 and best[token, place - 1] < score:
                    best[token, place], found[token, place] = best[token, place - 1], found[token, place - 1]
                    place -= 1
                best[token, place], found[token, place] = score, code
    return found


@_compiled
def gather(scores, probed, starts, listed, deleted):
    """Documents on the lists of `probed` (m, p) centroids, and what these say of their scores: (n,) both.

    A document has of each token of the query the best score among the probed centroids that it has, less that of the
    last one probed: a document that has none of them cannot do better than that one (XTR, arXiv 2304.01982).
    """
    documents = len(deleted)
    last = np.full(documents, -1, dtype=np.int32)
    totals = np.zeros(documents, dtype=np.float32)
    found = np.empty(documents, dtype=np.int32)
    count = 0
    for token in range(len(probed)):
        floor = scores[probed[token, -1], token]
        for code in probed[token]:
            gain = scores[code, token] - floor
            for document in listed[starts[code] : starts[code + 1]]:
                if last[document] == token or deleted[document]:
                    continue
                if last[document] < 0:
                    found[count] = document
                    count += 1
                last[document] = token
                totals[document] += gain
    return found[:count], totals[found[:count]]


@_compiled
def estimate(documents, codes, offsets, table):
    """The score of each document (n,) by its centroids alone, in units of the `table` (k, w): (n,) float32."""
    totals = np.empty(len(documents), dtype=np.float32)
    highest = np.empty(table.shape[1], dtype=np.uint8)
    for place in range(len(documents)):
        first, last = offsets[documents[place]], offsets[documents[place] + 1]
        highest[:] = 0
        # Four tokens at a time: what was just written is not read again at once.
        for token in range(first, last, 4):
            one, two = codes[token], codes[min(token + 1, last - 1)]
            three, four = codes[min(token + 2, last - 1)], codes[min(token + 3, last - 1)]
            for lane in range(len(highest)):
                left, right = max(table[one, lane], table[two, lane]), max(table[three, lane], table[four, lane])
                highest[lane] = max(highest[lane], max(left, right))
        totals[place] = highest.sum()
    return totals


@_compiled
def max_sim(documents, query, scores, codes, packed, scales, offsets, expanded, places):
    """MaxSim of a query with the decompressed vectors of each document (n,): (n,) float32.

    The product of a token with a vector is that with its centroid, which `scores` (k, m) has, plus that with its
    residual, times what brings the vector to length 1. `query` (m, d) has the tokens times the spread of residuals;
    m is a multiple of 4.
    """
    totals = np.empty(len(documents), dtype=np.float32)
    pair = np.empty((2, query.shape[1]), dtype=np.float32)
    highest = np.empty(len(query), dtype=np.float32)
    for place in range(len(documents)):
        first, last = offsets[documents[place]], offsets[documents[place] + 1]
        highest[:] = -np.inf
        for token in range(first, last, 2):
            other = min(token + 1, last - 1)
            _unpack(packed[token], expanded, places, pair[0])
            _unpack(packed[other], expanded, places, pair[1])
            one, two = np.float32(0.5 + scales[token] / 128), np.float32(0.5 + scales[other] / 128)
            for row in range(0, len(query), 4):
                left, right = _products(pair[0], pair[1], query[row : row + 4])
                for four in range(4):
                    a = (left[four] + scores[codes[token], row + four]) * one
                    b = (right[four] + scores[codes[other], row + four]) * two
                    highest[row + four] = max(highest[row + four], a, b)
        totals[place] = highest.sum()
    return totals
