"""GPTBigCode: GPT-2 with multi-query attention, from token ids and text to values.

The library never prints, never exits and knows nothing of the command line. Import what you need:

    from gpt_bigcode.pipeline import TextModel      text in, completions out

    errors         every error that the library raises
    config         GPTBigCodeConfig: config.json, checked before anything is built
    cache          KeyValueCache: preallocated keys and values
    transformer    GPTBigCodeModel: the whole forward pass
    heads          GPTBigCodeForCausalLM, ...ForSequenceClassification, ...ForTokenClassification
    checkpoint     a directory of safetensors <-> a model
    santacoder     the original layout of bigcode/santacoder -> ours
    tokenizer      tokenizer.json; text of the user never becomes a control token
    sampling       rules that choose the next token
    generation     prefill and decode over token ids
    decoder        a GPTBigCodeForCausalLM behind the interface that generation needs
    streaming      whole characters, stop texts, scopes, loops
    pipeline       TextModel: a checkpoint, a tokenizer, and the jobs they can do

Shapes in docstrings: B batch, T new tokens, S tokens seen (cache + new), H heads, K key/value
heads, D head size, E width, V vocabulary, L layers.
"""
