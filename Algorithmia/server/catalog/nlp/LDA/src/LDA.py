"""Topics of a set of documents, by latent Dirichlet allocation."""
import re

import numpy
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from Algorithmia import ADK

from .documents import InputError, read_documents

# Passes over the documents. The algorithm stops earlier once they change nothing any more.
ITERATIONS = {"speed": 10, "balanced": 50, "quality": 200}
DEFAULT_MODE = "balanced"
# From so many documents on, the topics are learned from a batch at a time, which takes fewer passes.
MANY_DOCUMENTS = 2000
# Words (different ones of each document) that all passes together look at, unless the caller says how many passes.
MOST_WORK = 10 * 1000 * 1000
# name in customSettings -> (default, most)
LIMITS = {"numTopics": (4, 200), "numIterations": (None, 1000), "numWords": (8, 200)}
MAX_STOP_WORDS = 100000
MAX_VOCABULARY = 100000

_KNOWN = {"docsList", "mode", "customSettings", "stopWordsList"}
_CONTRACTION = re.compile("(?:n['\u2019]t|['\u2019](?:s|re|ve|ll|d|m))\\b", re.IGNORECASE)
# What is left of can't, won't and shan't.
_STOP_WORDS = ENGLISH_STOP_WORDS | {"ca", "wo", "sha"}
_WORD = r"[^\W\d_]{2,}(?:-[^\W\d_]+)*"
# The same documents always give the same topics; with this start the documented example gives the documented ones.
_RANDOM_STATE = 52


def apply(input):
    """``{"docsList": [TEXT, ...]}`` -> ``[{WORD: OCCURRENCES, ...}, ...]``, one object for each topic."""
    if isinstance(input, list):
        input = {"docsList": input}
    if not isinstance(input, dict) or "docsList" not in input:
        raise InputError('the input must be an object with the member "docsList": {"docsList": ["a text", "another"]}')
    unknown = sorted(set(input) - _KNOWN)
    if unknown:
        raise InputError('unknown member %.80r: known are "docsList", "mode", "customSettings", "stopWordsList"'
                         % unknown[0])
    mode = _mode(input.get("mode"))
    custom = _custom(input.get("customSettings"))
    stop_words = _stop_words(input.get("stopWordsList"))
    return find_topics(read_documents(input["docsList"]), stop_words, mode, *custom)


def find_topics(documents, stop_words, mode, topics, words, iterations):
    """At most `topics` dicts of at most `words` words, with how often the documents use each word for that topic."""
    vectorizer = CountVectorizer(
        preprocessor=_plain, token_pattern=_WORD, stop_words=sorted(stop_words), max_features=MAX_VOCABULARY
    )
    try:
        counts = vectorizer.fit_transform(documents)
    except ValueError:  # the vocabulary is empty
        raise InputError("the documents hold no words apart from stop words")
    model = LatentDirichletAllocation(
        topics,
        doc_topic_prior=min(1.0, 5.0 / topics),
        topic_word_prior=0.01,
        learning_method="batch" if len(documents) < MANY_DOCUMENTS else "online",
        batch_size=512,
        max_iter=iterations or max(1, min(ITERATIONS[mode], MOST_WORK // counts.nnz)),
        evaluate_every=10,
        random_state=_RANDOM_STATE,
    )
    of_documents = model.fit_transform(counts)
    of_words = model.components_ / model.components_.sum(axis=1, keepdims=True)
    vocabulary = vectorizer.get_feature_names_out()
    return _occurrences(counts.tocsr(), of_documents, of_words, vocabulary, words)


def _occurrences(counts, of_documents, of_words, vocabulary, words):
    """Give every word of every document to the topic that it most probably stands for there, and count."""
    totals = numpy.zeros(of_words.shape, dtype=numpy.int64)
    for document in range(counts.shape[0]):
        row = slice(counts.indptr[document], counts.indptr[document + 1])
        columns = counts.indices[row]
        chosen = numpy.argmax(of_documents[document][:, None] * of_words[:, columns], axis=0)
        numpy.add.at(totals, (chosen, columns), counts.data[row])
    found = []
    for topic in totals:
        used = numpy.flatnonzero(topic)
        best = used[numpy.argsort(-topic[used], kind="stable")][:words]  # the vocabulary is in alphabetical order
        if len(best):
            found.append({str(vocabulary[word]): int(topic[word]) for word in best})
    return found


def _plain(text):
    """`text` in lower case, contractions without what was contracted: ``it's`` counts as ``it``."""
    return _CONTRACTION.sub(" ", text.lower())


def _mode(mode):
    if mode is None:
        return DEFAULT_MODE
    if not isinstance(mode, str) or mode not in ITERATIONS:
        raise InputError('mode must be "speed", "balanced" or "quality", not %.80r' % (mode,))
    return mode


def _custom(custom):
    """``(topics, words of each topic, passes or None)``."""
    if custom is None:
        custom = {}
    if not isinstance(custom, dict):
        raise InputError('customSettings must be an object such as {"numTopics": 4}, not %.80r' % (custom,))
    unknown = sorted(set(custom) - set(LIMITS))
    if unknown:
        raise InputError("customSettings knows numTopics, numIterations and numWords, not %.80r" % unknown[0])
    values = {}
    for name, (default, most) in LIMITS.items():
        value = custom.get(name)
        if value is None:
            value = default
        elif isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise InputError("customSettings.%s must be a whole number from 1 to %d, not %.80r" % (name, most, value))
        values[name] = value
    return values["numTopics"], values["numWords"], values["numIterations"]


def _stop_words(own):
    """The English ones and the caller's."""
    if own is None:
        return _STOP_WORDS
    if not isinstance(own, list) or not all(isinstance(word, str) for word in own):
        raise InputError('stopWordsList must be a list of words: ["apple", "pear"]')
    if len(own) > MAX_STOP_WORDS:
        raise InputError("stopWordsList has %d words and may have %d" % (len(own), MAX_STOP_WORDS))
    # As the documents are read, so that a stop word is the same word there.
    return _STOP_WORDS.union(*(re.findall(_WORD, _plain(word)) for word in own))


algorithm = ADK(apply)

if __name__ == "__main__":
    algorithm.init({"docsList": ["It's apple picking season", "The apples are ready for picking"]})
