# The names of the models that are here, one a line: of the cache, and of the folders in config.toml.
# The completions of all three shells run it as it is, without its comments: no single quotes.
show() {
    case $1 in
        ""|-*|*[!A-Za-z0-9._/-]*) ;;
        *) echo "$1" ;;
    esac
}
cache=${HF_HUB_CACHE:-${HUGGINGFACE_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}}
for folder in "$cache"/models--*/snapshots; do
    [ -d "$folder" ] || continue
    name=${folder%/snapshots}
    name=${name##*/models--}
    case $name in
        *--*) show "${name%%--*}/${name#*--}" ;;
        *) show "$name" ;;
    esac
done
{
    sed -n "/^model-folders *=/,/]/p" "${XDG_CONFIG_HOME:-$HOME/.config}/bigcode/config.toml" 2>/dev/null | tr "\042" "\012"
    echo "${BIGCODE_MODEL_FOLDERS:-}" | tr ":" "\012"
} | while read -r top; do
    case $top in
        "~"/*) top=$HOME/${top#*/} ;;
        /*) ;;
        *) continue ;;
    esac
    top=${top%/}
    if [ -f "$top/config.json" ]; then
        show "${top##*/}"
        continue
    fi
    for folder in "$top"/*/config.json "$top"/*/*/config.json; do
        [ -f "$folder" ] || continue
        folder=${folder%/config.json}
        show "${folder#"$top"/}"
    done
done
