-- Proves that the way through this server works, and lifts the journal: to the server's clock, so that the place of a
-- quiet connection stays young, and above what the gateway has seen, so that ids never go back after a failover.
-- KEYS: journal, epoch
-- ARGV: channel, highest id seen, epoch to start with, run id of this server ('': whichever it is), 1 on attaching, events,
--   age, journal entries, count of partitions ('': whichever it is), for how long no other count may be claimed
-- Answers: epoch, last id of the journal; an error PARTITIONS where the count is another, or none is set
-- Sends by PUBLISH, a local of the line before this file: 'PUBLISH', or on a cluster 'SPUBLISH'
local function above(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then
    return tonumber(a_ms) > tonumber(b_ms)
  end
  return tonumber(a_seq) > tonumber(b_seq)
end
local kept = redis.call('HMGET', KEYS[2], 'epoch', 'run', 'age', 'replid', 'partitions')
-- It is for the claim to set it where it was lost: whoever slept while it was changed would set the one before.
if ARGV[9] ~= '' and kept[5] ~= ARGV[9] then
  local told = { ['0'] = 'the number of partitions is being changed', [''] = 'no number of partitions is set' }
  local count = kept[5] or ''
  return redis.error_reply('PARTITIONS ' .. (told[count] or 'the namespace has ' .. count .. ' partitions'))
end
local epoch = kept[1]
local attaching = ARGV[5] == '1'
-- A server that is not the one before may have lost writes. So may the same one if it was a replica meanwhile: each time
-- it becomes a primary its replication id is another. Keeping streams longer than before makes places look young
-- whose streams are gone already; so do streams from before any gateway set an age, which publishers kept by their own.
-- So does a journal that is gone, which never expires: nobody can learn what was missed. All of these make the history
-- another one.
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
local journal = redis.call('EXISTS', KEYS[1]) == 1
local other_server = ARGV[4] ~= '' and (kept[2] and kept[2] ~= ARGV[4] or kept[4] and kept[4] ~= replid)
local longer = attaching and kept[3] and tonumber(ARGV[7]) > tonumber(kept[3]) or not kept[3]
if not epoch or not journal or other_server or longer then
  epoch = ARGV[3]
end
if epoch ~= kept[1] or kept[2] ~= ARGV[4] or kept[4] ~= replid or attaching then
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'run', ARGV[4], 'replid', replid)
end
if attaching or not kept[3] then
  redis.call('HSET', KEYS[2], 'events', ARGV[6], 'age', ARGV[7], 'journal', ARGV[8], 'fenced', '0')
end
local now = redis.call('TIME')
local ms = now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000))
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[2], 'until', string.format('%.0f', tonumber(ms) + tonumber(ARGV[10])))
end
local last = ms .. '-0'
if above(ARGV[2], last) then
  last = ARGV[2]
end
if not journal then
  redis.call('XADD', KEYS[1], last, 'beacon', '')
else
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      if above(last, info[i + 1]) then
        redis.call('XSETID', KEYS[1], last)
      else
        last = info[i + 1]
      end
    end
  end
end
redis.call(PUBLISH, ARGV[1], '1 ' .. last .. ' ' .. epoch)
return { epoch, last }
