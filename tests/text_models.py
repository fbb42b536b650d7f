"""Tiny models that take text or look values up in tables: what a split at the last text operator has to get right.

Each function builds a model with fixed random weights, in Keras 3 or, where its name says so, in Keras 2. `build` is a
job function: it runs in a worker and saves files.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zürich", "omega"]


def words_to_numbers() -> Any:
    """TextVectorization with a fixed length under an embedding; the input is a vector of texts."""
    import keras
    from keras import layers

    text = keras.Input((), dtype="string", name="text")
    numbers = layers.TextVectorization(output_sequence_length=6, vocabulary=WORDS, name="words")(text)
    embedded = layers.GlobalAveragePooling1D()(layers.Embedding(len(WORDS) + 2, 4)(numbers))
    return keras.Model(text, layers.Dense(2, name="y")(embedded))


def sequential_text() -> Any:
    """A Sequential that begins with a TextVectorization into tf-idf vectors, over characters."""
    import keras
    from keras import layers

    letters = ["a", "e", "l", "p", "h", "ü"]
    weights = [0.3, 0.5, 0.7, 1.1, 1.3, 1.7]
    vectorize = layers.TextVectorization(
        output_mode="tf_idf",
        split="character",
        standardize="lower",
        vocabulary=letters,
        idf_weights=weights,
        name="letters",
    )
    return keras.Sequential([keras.Input((1,), dtype="string", name="text"), vectorize, layers.Dense(2, name="y")])


def neighbours() -> Any:
    """Pairs of words as a multi-hot vector, padded to a number of tokens that the vocabulary does not reach."""
    import keras
    from keras import layers

    text = keras.Input((1,), dtype="string", name="text")
    pairs = layers.TextVectorization(
        output_mode="multi_hot",
        ngrams=2,
        max_tokens=12,
        pad_to_max_tokens=True,
        standardize="strip_punctuation",
        vocabulary=["beta", "beta gamma", "Delta epsilon", "42"],
        name="pairs",
    )
    return keras.Model(text, layers.Dense(2, name="y")(pairs(text)))


def longest_of_the_batch() -> Any:
    """Rows as long as the longest text of the call."""
    import keras
    from keras import layers

    text = keras.Input((1,), dtype="string", name="text")
    numbers = layers.TextVectorization(standardize=None, vocabulary=WORDS, name="words")(text)
    embedded = layers.Embedding(len(WORDS) + 2, 4)(numbers)
    return keras.Model(text, layers.Dense(2, name="y")(keras.ops.sum(embedded, axis=1)))


def table_row() -> Any:
    """Two texts, an integer and numbers; every way from a category to a vector, and a nested model."""
    import keras
    from keras import layers

    color = keras.Input((1,), dtype="string", name="color")
    city = keras.Input((1,), dtype="string", name="city")
    code = keras.Input((1,), dtype="int64", name="code")
    size = keras.Input((3,), name="size")
    inner_color = keras.Input((1,), dtype="string", name="c")
    known = layers.StringLookup(vocabulary=WORDS[:3], output_mode="one_hot", name="known")
    inner = keras.Model(inner_color, known(inner_color), name="inner")
    counted = layers.StringLookup(vocabulary=WORDS, num_oov_indices=3, mask_token="", output_mode="count")
    salted = layers.StringLookup(vocabulary=WORDS, num_oov_indices=4, salt=[5, 6])
    codes = layers.IntegerLookup(vocabulary=[1, 10, 100], num_oov_indices=2, mask_token=-1)
    bins = layers.Discretization(bin_boundaries=[-0.5, 0.0, 0.5])
    vectors = [
        layers.CategoryEncoding(5, output_mode="one_hot")(layers.StringLookup(vocabulary=WORDS[3:6])(city)),
        inner(color),
        counted(city),
        layers.Flatten()(layers.Embedding(12, 3)(salted(color))),
        layers.Flatten()(layers.Embedding(6, 3)(codes(code))),
        layers.Hashing(10, output_mode="one_hot")(city),
        layers.Flatten()(layers.Embedding(7, 2)(layers.Hashing(7, salt=[3, 4], mask_value="")(color))),
        layers.Hashing(5, output_mode="multi_hot")(code),
        layers.HashedCrossing(9, output_mode="one_hot")([color, code]),
        layers.HashedCrossing(8, output_mode="one_hot")([bins(size[:, :1]), city]),
        size,
    ]
    joined = layers.Concatenate()([keras.ops.cast(vector, "float32") for vector in vectors])
    return keras.Model([color, city, code, size], layers.Dense(2, name="y")(joined))


def only_text() -> Any:
    """Nothing but preprocessing: the core hands its input on."""
    import keras
    from keras import layers

    vectorize = layers.TextVectorization(output_sequence_length=4, vocabulary=WORDS, name="words")
    return keras.Sequential([keras.Input((1,), dtype="string", name="text"), vectorize])


def keras2_text() -> Any:
    """Keras 2: words, characters and categories."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    text = tf_keras.Input((1,), dtype="string", name="text")
    color = tf_keras.Input((1,), dtype="string", name="color")
    numbers = layers.TextVectorization(output_sequence_length=6, vocabulary=WORDS, name="words")(text)
    letters = layers.TextVectorization(
        output_mode="count", split="character", vocabulary=["a", "b", "ü"], name="letters"
    )(text)
    known = layers.StringLookup(vocabulary=WORDS, output_mode="one_hot", num_oov_indices=2, name="known")(
        tf.strings.lower(color)
    )
    hashed = layers.Hashing(6, output_mode="one_hot", name="hashed")(color)
    crossed = layers.HashedCrossing(5, output_mode="one_hot", name="crossed")([text, color])
    embedded = layers.GlobalMaxPooling1D()(layers.Embedding(len(WORDS) + 2, 4)(numbers))
    joined = layers.Concatenate()([embedded, letters, known, hashed, crossed])
    return tf_keras.Model([text, color], layers.Dense(2, name="y")(joined))


def shared_and_glued() -> Any:
    """One lookup over two texts, texts put together and taken apart before it, an integer that the core takes too."""
    import keras
    from keras import layers, ops

    one, pair = keras.Input((), dtype="string", name="one"), keras.Input((2,), dtype="string", name="pair")
    code = keras.Input((1,), dtype="int32", name="code")
    three = layers.Concatenate()([layers.Reshape((1,))(one), pair])
    known = layers.StringLookup(vocabulary=WORDS, output_mode="multi_hot", name="known")
    codes = layers.IntegerLookup(vocabulary=[1, 2, 30], output_mode="one_hot", name="codes")(code)
    numbers = layers.TextVectorization(vocabulary=WORDS, output_sequence_length=3, name="words")(pair[:, 1])
    joined = [ops.cast(part, "float32") for part in (known(three), known(pair), codes, code, numbers)]
    return keras.Model([one, pair, code], layers.Dense(2, name="y")(layers.Concatenate()(joined)))


def tidy(text: Any) -> Any:
    """A rule of the user's own that can be said in steps: the one of TensorFlow's tutorials."""
    import re
    import string

    import tensorflow as tf

    spaced = tf.strings.regex_replace(tf.strings.lower(text), "<br />", " ")
    return tf.strings.regex_replace(spaced, f"[{re.escape(string.punctuation)}]", "")


def own_rule_in_steps() -> Any:
    """A TextVectorization with the user's own standardisation."""
    import keras
    from keras import layers

    text = keras.Input((1,), dtype="string", name="text")
    keras.saving.register_keras_serializable("tests")(tidy)
    vectorize = layers.TextVectorization(standardize=tidy, output_mode="multi_hot", vocabulary=WORDS, name="words")
    return keras.Model(text, layers.Dense(2, name="y")(vectorize(text)))


def categories() -> Any:
    """Numbers of categories, without text: as a vector for each, and as counts of a row."""
    import keras
    from keras import layers

    one, several = keras.Input((1,), dtype="int32", name="one"), keras.Input((4,), dtype="int32", name="several")
    vectors = [
        layers.CategoryEncoding(5, output_mode="one_hot")(one),
        layers.CategoryEncoding(3, output_mode="multi_hot")(several),
        layers.CategoryEncoding(4, output_mode="count")(several),
    ]
    return keras.Model([one, several], layers.Dense(2, name="y")(layers.Concatenate()(vectors)))


MODELS: Mapping[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (
        words_to_numbers,
        sequential_text,
        neighbours,
        longest_of_the_batch,
        table_row,
        shared_and_glued,
        only_text,
        keras2_text,
    )
}


OTHERS: Mapping[str, Callable[[], Any]] = {function.__name__: function for function in (categories, own_rule_in_steps)}


def upper(text: Any) -> Any:
    """What a Lambda may hold."""
    import tensorflow as tf

    return tf.strings.upper(text)


def shout(text: Any) -> Any:
    """A rule of the user's own."""
    import tensorflow as tf

    return tf.strings.join([text, "!"])


def upper_case() -> Any:
    """A text operator that no step says."""
    import keras
    from keras import layers

    text = keras.Input((1,), dtype="string", name="text")
    loud = layers.Lambda(upper, output_shape=(1,), dtype="string", name="loud")(text)
    known = layers.StringLookup(vocabulary=WORDS, output_mode="one_hot", name="known")(loud)
    return keras.Model(text, layers.Dense(2, name="y")(known))


def own_rule() -> Any:
    """A TextVectorization with the user's own standardisation."""
    import keras
    from keras import layers

    text = keras.Input((1,), dtype="string", name="text")
    keras.saving.register_keras_serializable("tests")(shout)
    vectorize = layers.TextVectorization(standardize=shout, output_mode="multi_hot", vocabulary=WORDS, name="words")
    return keras.Model(text, layers.Dense(2, name="y")(vectorize(text)))


def rows_of_any_length() -> Any:
    """A TextVectorization that leaves its rows ragged."""
    import keras
    from keras import layers

    text = keras.Input((1,), dtype="string", name="text")
    vectorize = layers.TextVectorization(ragged=True, vocabulary=WORDS, name="words")
    padded = layers.Lambda(dense, output_shape=(None,), name="dense")(vectorize(text))
    embedded = layers.GlobalAveragePooling1D()(layers.Embedding(len(WORDS) + 2, 4)(padded))
    return keras.Model(text, layers.Dense(2, name="y")(embedded))


def dense(rows: Any) -> Any:
    """Rows of one length."""
    return rows.to_tensor() if hasattr(rows, "to_tensor") else rows


def words_out() -> Any:
    """A model that ends in words."""
    import keras
    from keras import layers

    x = keras.Input((4,), name="x")
    best = keras.ops.argmax(layers.Dense(3)(x), axis=-1)
    return keras.Model(x, layers.StringLookup(vocabulary=WORDS[:3], invert=True, name="word")(best))


def learned_bins() -> Any:
    """A table behind a dense layer: what comes before the last table computes."""
    import keras
    from keras import layers

    x = keras.Input((4,), name="x")
    best = keras.ops.argmax(layers.Dense(3, name="scores")(x), axis=-1)
    looked_up = layers.IntegerLookup(vocabulary=[2, 1, 0], name="codes")(best)
    return keras.Model(x, layers.Dense(2, name="y")(layers.Embedding(4, 3)(looked_up)))


IMPOSSIBLE: Mapping[str, Callable[[], Any]] = {
    function.__name__: function for function in (upper_case, words_out, learned_bins, own_rule, rows_of_any_length)
}


def build(request: Mapping[str, Any]) -> str:
    """Job: builds one model of the tables and saves it; see `tests.models.build`."""
    import keras

    keras.utils.set_random_seed(request["seed"])
    path = Path(request["folder"]) / f"{request['name']}.keras"
    {**MODELS, **IMPOSSIBLE, **OTHERS}[request["name"]]().save(path)
    return str(path)
