/* libattn: distributed attention, planned once and executed many times. This header includes the whole public API. */
#ifndef ATTN_ATTN_H
#define ATTN_ATTN_H

#include <attn/attributes.h>
#include <attn/comm.h>
#include <attn/dist.h>
#include <attn/dtype.h>
#include <attn/input.h>
#include <attn/kernel.h>
#include <attn/mask.h>
#include <attn/partition.h>
#include <attn/phase.h>
#include <attn/plan.h>
#include <attn/problem.h>
#include <attn/random.h>
#include <attn/result.h>
#include <attn/sampler.h>
#include <attn/segments.h>
#include <attn/shape.h>
#include <attn/statistics.h>
#include <attn/status.h>
#include <attn/study.h>
#include <attn/version.h>

#endif
