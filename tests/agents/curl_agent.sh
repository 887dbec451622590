#!/usr/bin/env bash
# An agent of bash, curl and jq: questions side by side over TLS, a tool that the model asks for.  curl_agent.sh URL CA
set -euo pipefail
url=$1 authority=$2
messages='[{"role": "user", "content": "how late is it?"}]'
tools='[{"type": "function", "function": {"name": "date", "parameters": {"type": "object"}}}]'

ask() {
    jq -cn --argjson messages "$1" --argjson tools "$2" '{model: "talker", messages: $messages, tools: $tools}' |
        curl -sS --fail --max-time 30 --cacert "$authority" -H 'Authorization: Bearer sk-local-demo' -d @- "$url/v1/chat/completions"
}

for number in 1 2 3 4; do
    (ask "$(jq -cn --arg text "question $number $RANDOM $BASHPID" '[{role: "user", content: $text}]')" '[]' |
        jq -r --arg number "$number" '"\($number): \(.id) \(.choices[0].message.content)"') &
done
wait

said=$(ask "$messages" "$tools")
name=$(jq -r '.choices[0].message.tool_calls[0].function.name' <<<"$said")
result=$("$name" +%s.%N)
echo "$name is $result"
messages=$(jq -c --argjson said "$said" --arg result "$result" \
    '. + [$said.choices[0].message, {role: "tool", tool_call_id: $said.choices[0].message.tool_calls[0].id, content: $result}]' <<<"$messages")
ask "$messages" "$tools" | jq -r '.id, .choices[0].message.content'
echo "$$ $RANDOM $SECONDS $EPOCHREALTIME $(cat /proc/sys/kernel/random/uuid)"
