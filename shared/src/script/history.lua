-- Reads what several addresses of one partition got after a place, at one moment.
-- KEYS: journal, epoch, one stream per address
-- ARGV: after (an id), up to (an id, or + for all), tail (1: instead, the latest event of each), bytes to read at most;
--   then, or nothing, for each stream the id after which it is read in place of the first
-- Answers: epoch (or ''), last id of the journal, then for each address a status and its entries, flat: id, message, …
--   ok: these are all   big: more than the bytes allow
--   lost: some are gone; what is left is all that came after the first of these. None: the place is too old to tell
local function at_or_before(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then
    return tonumber(a_ms) < tonumber(b_ms)
  end
  return tonumber(a_seq) <= tonumber(b_seq)
end
local function info(stream)
  local found = {}
  local fields = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #fields, 2 do
    found[fields[i]] = fields[i + 1]
  end
  return found
end
local up_to, tail, bytes = ARGV[2], ARGV[3] == '1', tonumber(ARGV[4])
local kept = redis.call('HMGET', KEYS[2], 'epoch', 'age', 'far')
local answer = { kept[1] or '', '0-0' }
if redis.call('EXISTS', KEYS[1]) == 1 then
  answer[2] = info(KEYS[1])['last-generated-id']
end
-- The journal's last id is no older than any beacon: where the clock stepped back behind it, streams that expired before
-- must not look as if they had never been.
local time = redis.call('TIME')
local last_ms = tonumber(string.match(answer[2], '^(%d+)'))
local clock = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local now = math.max(clock, last_ms)
-- While ids are far ahead, beacons move them on at the pace of the clock. It may have stepped
-- forward since the last one.
local far = tonumber(kept[3] or '')
if far then
  now = math.max(now, last_ms + clock - far)
end
-- Where no gateway has set an age, each publisher goes by its own: no place is then surely young enough.
local age = tonumber(kept[2] or 0)
local function too_old(after)
  return not tail and now - tonumber(string.match(after, '^(%d+)')) >= age
end
local function complete(stream, after)
  local found = info(stream)
  local first = found['first-entry']
  return found['entries-added'] == found['length'] or (first and at_or_before(first[1], after))
end
local function page(stream, from, count)
  if tail then
    return redis.pcall('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  end
  return redis.pcall('XRANGE', stream, from, up_to, 'COUNT', count)
end
local function read(stream, after)
  -- A stream that is not there lost nothing: had it got an event after a place that is not too old, it would still be.
  if redis.call('EXISTS', stream) == 0 then
    return 'ok', {}
  end
  local entries, from, count = {}, '(' .. after, 100
  while true do
    local found = page(stream, from, count)
    -- Somebody else has put something under this key. It must not keep the other addresses from being read.
    if found.err and string.find(found.err, '^WRONGTYPE') then
      return 'lost', {}
    elseif found.err then
      error(found)
    end
    for i = 1, #found do
      local fields = found[i][2]
      for f = 1, #fields, 2 do
        if fields[f] == 'm' then
          entries[#entries + 1] = found[i][1]
          entries[#entries + 1] = fields[f + 1]
          bytes = bytes - #fields[f + 1]
        end
      end
    end
    if bytes < 0 then
      return 'big', {}
    end
    if tail or #found < count then
      break
    end
    from = '(' .. found[#found][1]
  end
  -- Even if nothing was found: up to a place, all that there was may have been trimmed.
  if not tail and not complete(stream, after) then
    return 'lost', entries
  end
  return 'ok', entries
end
for i = 3, #KEYS do
  local status, entries = 'lost', {}
  local after = ARGV[i + 2] or ARGV[1]
  if bytes < 0 then
    status = 'big'
  elseif not too_old(after) then
    status, entries = read(KEYS[i], after)
  end
  answer[#answer + 1] = status
  answer[#answer + 1] = entries
end
return answer
