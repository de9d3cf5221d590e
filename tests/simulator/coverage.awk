# Compares the lines that no schedule reaches, as llvm-cov shows them, with the reasons in unreached.txt, which is read first.

FNR == NR {
    if ($0 ~ /^#/ || $0 ~ /^[ \t]*$/) next
    name = $1 " " $2
    if (NF < 4 || $3 !~ /^[0-9]+$/ || name in most) {
        print "unreached.txt:" FNR ": not '<file> <function> <lines> <reason>', or there already: " $0
        failed = 1
    }
    most[name] = $3
    next
}

/^\/.*\.rs:$/ {
    file = $0
    sub(/.*\/src\//, "src/", file)
    sub(/:$/, "", file)
    function_name = "-"
    next
}

# What only tests use.
file ~ /\/(tests|check|wrong)\.rs$/ { next }

/^ *[0-9]+\|/ {
    split($0, columns, "|")
    line_number = columns[1]
    count = columns[2]
    gsub(/ /, "", line_number)
    gsub(/ /, "", count)
    text = $0
    sub(/^[^|]*\|[^|]*\|/, "", text)

    if (match(text, /^ *(pub(\([^)]*\))? )?(const )?(unsafe )?fn [a-z_0-9]+/)) {
        function_name = substr(text, RSTART, RLENGTH)
        sub(/.*fn /, "", function_name)
        indent = text
        sub(/[^ ].*/, "", indent)
        # A trait's, or one of one line.
        is_over = text ~ /;$|}$/
    }
    if (count != "" && !is_trivial(text)) {
        all++
        if (count == "0") {
            name = file " " function_name
            unreached[name]++
            shown[name] = shown[name] "\n    " line_number ":" text
            total++
        }
    }
    if (is_over || text == indent "}") {
        function_name = "-"
        indent = "none"
        is_over = 0
    }
}

# The end of something, or what can never be.
function is_trivial(text) {
    return text ~ /^[ \t})\];,{(]*$/ || text ~ /unreachable!|panic!|assert(_eq|_ne)?!/
}

END {
    for (name in unreached) {
        if (!(name in most)) {
            print name ": " unreached[name] " lines that no schedule reaches, without a reason:" shown[name]
            failed = 1
        } else if (unreached[name] + 0 > most[name] + 0) {
            print name ": " unreached[name] " lines that no schedule reaches, and a reason for " most[name] ":" shown[name]
            failed = 1
        }
    }
    for (name in most) {
        if (!(name in unreached)) {
            print name ": every line is reached now; its reason is not needed"
            failed = 1
        }
    }
    if (failed) exit 1
    print total + 0 " of " all + 0 " lines unreached, all with a reason"
}
