#!/usr/bin/env bash
# Makes the streams that the players judge: make-corpus.sh OUTDIR
#   ts/master.m3u8         two TS variants
#   fmp4/master.m3u8       one fMP4 variant
#   aes/index.m3u8         TS under AES-128, its key beside it
#   byterange/index.m3u8   one TS file, by EXT-X-BYTERANGE
#   demuxed/master.m3u8    fMP4, the audio a group of its own
#   byterange-fmp4/index.m3u8  one fMP4 file, by EXT-X-BYTERANGE
#   audio/index.m3u8       packed AAC, no picture
set -euo pipefail
[ $# = 1 ] || { echo "usage: make-corpus.sh OUTDIR" >&2; exit 2; }
command -v ffmpeg >/dev/null || { echo "make-corpus.sh: ffmpeg is absent" >&2; exit 1; }
mkdir -p "$1"
cd "$1"
mkdir -p ts fmp4/240p aes byterange demuxed/{video,audio} byterange-fmp4 audio
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

seconds=12 segment=2 rate=25
ff() { ffmpeg -hide_banner -loglevel error -nostdin -y "$@"; }
hls=(-f hls -hls_time $segment -hls_playlist_type vod -hls_list_size 0)
cmaf=("${hls[@]}" -hls_flags independent_segments -hls_segment_type fmp4 -hls_fmp4_init_filename init.mp4)

# master VERSION (NAME SIZE BANDWIDTH)...: by hand, because ffmpeg leaves CODECS out when it copies.
master() {
  printf '#EXTM3U\n#EXT-X-VERSION:%s\n#EXT-X-INDEPENDENT-SEGMENTS\n' "$1"
  shift
  while [ $# -gt 0 ]; do
    printf '#EXT-X-STREAM-INF:BANDWIDTH=%s,CODECS="avc1.4D4015,mp4a.40.2",RESOLUTION=%s\n%s/index.m3u8\n' "$3" "$2" "$1"
    shift 3
  done
}

# Both sizes by one command; every later step copies the coded frames.
each=(-c:v libx264 -preset veryfast -profile:v main -level 2.1 -bf 0 -g $((segment * rate)) -keyint_min $((segment * rate)) -sc_threshold 0 -c:a aac -b:a 64k)
ff -f lavfi -i "testsrc2=s=426x240:r=$rate:d=$seconds" -f lavfi -i "sine=f=330:r=48000:d=$seconds" \
  -filter_complex '[0:v]format=yuv420p,split[high][full];[full]scale=256:144[low];[1:a]volume=0.3,asplit[a][b]' \
  -map '[high]' -map '[a]' "${each[@]}" -b:v 350k "$work/high.mp4" \
  -map '[low]' -map '[b]' "${each[@]}" -b:v 150k "$work/low.mp4"

ff -i "$work/high.mp4" -i "$work/low.mp4" -map 0:v -map 0:a -map 1:v -map 1:a -c copy "${hls[@]}" \
  -hls_flags independent_segments -var_stream_map 'v:0,a:0,name:240p v:1,a:1,name:144p' \
  -hls_segment_filename 'ts/%v/seg_%03d.ts' 'ts/%v/index.m3u8'
master 6 144p 256x144 260000 240p 426x240 520000 >ts/master.m3u8

ff -i "$work/high.mp4" -c copy "${cmaf[@]}" -hls_segment_filename 'fmp4/240p/seg_%03d.m4s' fmp4/240p/index.m3u8
master 7 240p 426x240 500000 >fmp4/master.m3u8

head -c 16 /dev/urandom >aes/enc.key
printf '%s\n' enc.key aes/enc.key >"$work/key"
ff -i "$work/high.mp4" -c copy "${hls[@]}" -hls_key_info_file "$work/key" -hls_segment_filename 'aes/seg_%03d.ts' aes/index.m3u8

ff -i "$work/high.mp4" -c copy "${hls[@]}" -hls_flags single_file -hls_segment_filename byterange/all.ts byterange/index.m3u8

ff -i "$work/high.mp4" -map 0:v -c copy "${cmaf[@]}" -hls_segment_filename 'demuxed/video/seg_%03d.m4s' demuxed/video/index.m3u8
ff -i "$work/high.mp4" -map 0:a -c copy "${cmaf[@]}" -hls_segment_filename 'demuxed/audio/seg_%03d.m4s' demuxed/audio/index.m3u8
master 7 video 426x240 500000 | sed -e '/STREAM-INF/i #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="only",DEFAULT=YES,AUTOSELECT=YES,URI="audio/index.m3u8"' \
  -e '/STREAM-INF/s/$/,AUDIO="sound"/' >demuxed/master.m3u8

ff -i "$work/high.mp4" -c copy "${hls[@]}" -hls_segment_type fmp4 -hls_flags single_file -hls_segment_filename byterange-fmp4/all.mp4 byterange-fmp4/index.m3u8

ff -i "$work/high.mp4" -map 0:a -c copy -f segment -segment_time $segment -segment_format adts \
  -segment_list audio/index.m3u8 -segment_list_type m3u8 -segment_list_flags -live 'audio/seg_%03d.aac'

du -sb .
