"""GPTBigCode: GPT-2 with multi-query attention, from token ids and text to values.

The library never prints, never exits and knows nothing of the command line. Import what you need:

    from gpt_bigcode.completion.text_model import TextModel      text in, completions out
    from gpt_bigcode.scoring.text_scorer import TextScorer      text in, surprise out
    from gpt_bigcode.labeling.text_classifier import TextClassifier   text in, labels out

    errors                 every error, drawn as a tree
    config                 config.json, checked before anything is built
    weights                which tensors a checkpoint must hold, and where they lie in its files
    checkpoint             a directory of safetensors <-> a model
    santacoder             the original layout of bigcode/santacoder -> ours
    unpickling             the one place that opens a pickle
    conversion             pickles and other layouts -> safetensors
    cache                  keys and values of the tokens seen so far
    transformer            the whole forward pass, in PyTorch
    heads                  language model, sequence classifier, token classifier
    outputs                what they return
    arguments              checks of what a forward pass is given
    initialization         how the parameters of a new model start
    reference              the forward pass once more, in NumPy: the oracle, and the instant start
    prompt_reading         ... a prompt in parts, side by side
    tokenizer              tokenizer.json; text of the user never becomes a control token
    tokenizer_definition   what tokenizer.json says, checked before anything is built from it
    sampling               rules that choose the next token
    healing                a prompt may end inside a token
    generation             prefill and decode over token ids, for any engine
    drafting               guesses of what comes next
    speculation            lets one pass of a model check them
    prefix_cache           keys and values of prompts' beginnings, kept on disk
    measuring              how fast a decoder is, and how fast memory is
    random_checkpoint      random weights of a family member's size, to measure with
    decoder                the PyTorch model behind the interface that generation needs
    engines                chooses NumPy or PyTorch
    devices                which device
    precision              which number format, and why
    loading                a checkpoint on its device, in its number format
    quantization           linear layers of 8 and 4 bits
    quantized_checkpoint   a checkpoint whose matrices have become such layers
    quantized_store        quantized weights on disk, kept for the next start
    threads                how many processor threads
    context                text and other files -> the ids that a model reads, within its context
    infilling              the same for a gap in a text
    suffix_overlap         where a text that fills a gap runs into what follows
    streaming              whole characters, stop texts, loops
    scopes                 where the line, block or function at the cursor ends
    lexing                 just enough of a lexer for that
    outcomes               what a completion gives back
    pipeline               TextModel: all of it together
    windows                which tokens of a long text are scored with which context
    pieces                 token ids of a text of any size, read piece by piece
    scorers                log-probabilities of given tokens, and their engine
    torch_scorer           the same from PyTorch
    ledger                 adds them up, with the place of each token in the file
    scores                 what scoring gives back
    scoring                TextScorer: all of that together
    labelers               logits of a classification head, and their engine
    torch_labeler          the same from PyTorch
    row_pool               rows of similar length, computed together
    classifications        what classifying gives back
    classification         TextClassifier: all of that together

Shapes in docstrings: B batch, T new tokens, S tokens seen (cache + new), H heads, K key/value
heads, D head size, E width, V vocabulary, L layers.
"""
