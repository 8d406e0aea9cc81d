"""The kinds of findings: stable codes, a page for each, a text that says what there is to say."""

from __future__ import annotations

import pytest

from linnet.errors import findings, program_findings
from linnet.errors.findings import Finding

CODES = {
    findings.RepeatedKeyFinding: 'LN811',
    findings.SharedStreamKeyFinding: 'LN812',
    findings.SharedModelKeyFinding: 'LN813',
    findings.SharedMaskFinding: 'LN814',
    findings.UndrawnStreamFinding: 'LN815',
    findings.CollidingDrawsFinding: 'LN816',
    findings.DroppedUpdatesFinding: 'LN821',
    findings.FrozenStatisticsFinding: 'LN822',
    findings.EvaluationStateFinding: 'LN823',
    findings.InitialStatisticsFinding: 'LN824',
    findings.UnreadCollectionFinding: 'LN825',
    findings.UnusedParameterFinding: 'LN826',
    findings.ZeroGradientFinding: 'LN827',
    findings.NonfiniteGradientFinding: 'LN828',
    program_findings.MadeInApplyFinding: 'LN841',
    program_findings.EqualParametersFinding: 'LN842',
    program_findings.LeakedTracerFinding: 'LN843',
    program_findings.StaleParametersFinding: 'LN844',
    program_findings.DonatedArrayFinding: 'LN845',
    program_findings.ReturnedPairFinding: 'LN846',
    program_findings.ManyShapesFinding: 'LN851',
    program_findings.RepeatedCompilationFinding: 'LN852',
    program_findings.NonfiniteOutputFinding: 'LN861',
    program_findings.OverflowFinding: 'LN862',
    program_findings.UnderflowFinding: 'LN863',
    program_findings.MaskedRowFinding: 'LN864',
    program_findings.IdRangeFinding: 'LN865',
    program_findings.UpcastFinding: 'LN866',
    program_findings.AdditiveMaskFinding: 'LN867',
}


@pytest.mark.parametrize(('kind', 'code'), CODES.items(), ids=CODES.values())
def test_a_kind_has_a_code_a_title_and_a_page(kind, code):
    assert kind.code == code
    assert kind.title[0].islower()
    assert all(part in kind.__doc__ for part in ('Wrong::', 'Right::', 'Reason: '))
    text = str(kind('it happened', why='a rule', mend='do this', where='/Dense_0'))
    assert text.startswith(f'[{code}] /Dense_0: it happened')
    assert 'do this' in text


def test_all_kinds_are_here():
    assert set(Finding.__subclasses__()) == set(CODES)
    assert len(set(CODES.values())) == len(CODES)
