# bash completion for crex; the answers come from crex itself
_crex() {
	local line=${COMP_LINE:0:COMP_POINT} word words=() candidate files=
	COMPREPLY=()
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	word=${words[-1]}
	while IFS= read -r candidate; do
		if [[ $candidate == :files ]]; then
			files=1
		else
			COMPREPLY+=("${candidate%%$'\t'*}")
		fi
	done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
	if [[ $files && ${#COMPREPLY[@]} == 0 ]]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	elif [[ $files ]]; then
		# readline must not quote the colon of NAME:, so paths among names are made ready here
		while IFS= read -r candidate; do
			[[ -d $candidate ]] && candidate+=/
			COMPREPLY+=("$candidate")
		done < <(compgen -f -- "$word")
	fi
	# a colon breaks words: only what is behind it is replaced
	if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
		COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
	fi
	[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:/] ]] && compopt -o nospace 2>/dev/null
	return 0
}
complete -F _crex crex
