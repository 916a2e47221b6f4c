-- Tells which addresses of a partition got events after a place, from the journal, a page at a time.
-- KEYS: journal, epoch
-- ARGV: after (an id), up to (an id, or + on the first page), entries of a page
-- Answers: epoch (or ''), last id of the journal, 1 if the journal reaches back to the place, id to go on after (or '' at the end), addresses
local after, up_to, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local function at_or_before(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then
    return tonumber(a_ms) < tonumber(b_ms)
  end
  return tonumber(a_seq) <= tonumber(b_seq)
end
local epoch = redis.call('HGET', KEYS[2], 'epoch') or ''
if redis.call('EXISTS', KEYS[1]) == 0 then
  return { epoch, '0-0', 0, '', {} }
end
local found = {}
local fields = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #fields, 2 do
  found[fields[i]] = fields[i + 1]
end
local first = found['first-entry']
local complete = found['entries-added'] == found['length'] or (first and at_or_before(first[1], after))
local entries = redis.call('XRANGE', KEYS[1], '(' .. after, up_to, 'COUNT', count)
local seen, addresses = {}, {}
for i = 1, #entries do
  local entry = entries[i][2]
  for f = 1, #entry, 2 do
    if entry[f] == 'a' and not seen[entry[f + 1]] then
      seen[entry[f + 1]] = true
      addresses[#addresses + 1] = entry[f + 1]
    end
  end
end
local next_after = ''
if #entries == count then
  next_after = entries[#entries][1]
end
return { epoch, found['last-generated-id'], complete and 1 or 0, next_after, addresses }
